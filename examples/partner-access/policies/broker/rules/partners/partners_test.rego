package broker.rules.partners_test

import data.broker.rules.partners

_acme := "https://login.acme.example"

_bounds := {"partner": {"acme": {
	"issuers": [_acme],
	"clients": ["partner-gateway"],
	"targets": ["catalog"],
	"scopes": ["catalog.read"],
}}}

_denied(client, issuer, scopes) := found if {
	found := partners.deny with input as {
		"client": {"id": client},
		"request": {"targets": [{"name": "catalog"}]},
		"subject": {"issuer": issuer},
		"delegation": {"acting": {"issuer": "https://broker.example"}, "chain": []},
	}
		with data.broker.parameters as _bounds
		with data.broker.exchange.scopes.granted as scopes
}

test_a_partner_within_its_bounds if {
	_denied("partner-gateway", _acme, {"catalog.read"}) == set()
}

test_a_partner_beyond_its_bounds if {
	_denied("partner-gateway", _acme, {"catalog.read", "catalog.write"}) == {"policy.denied"}
}

test_a_partner_at_another_door if {
	_denied("back-office", _acme, {"catalog.read"}) == {"policy.denied"}
}

test_others_are_not_concerned if {
	_denied("back-office", "https://login.shop.example", {"catalog.write"}) == set()
}

test_who_is_not_said_might_be_the_partner if {
	partners.deny == {"policy.denied"} with input as {} with data.broker.parameters as _bounds
}
