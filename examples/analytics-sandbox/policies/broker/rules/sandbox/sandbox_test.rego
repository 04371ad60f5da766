package broker.rules.sandbox_test

import data.broker.rules.sandbox

_said(source, groups, asked) := found if {
	found := sandbox.deny with input as {
		"request": {"source": source},
		"subject": {"claims": {"groups": groups}},
	}
		with data.broker.parameters as {"network": {"lab": ["10.20.0.0/16"]}}
		with data.broker.exchange.scopes.granted as asked
}

test_an_analyst_in_the_sandbox if _said("10.20.1.1", ["analysts"], {"events.read"}) == set()

test_an_analyst_elsewhere if _said("10.21.1.1", ["analysts"], {"events.read"}) == {"policy.denied"}

test_somebody_else if _said("10.20.1.1", ["staff"], {"events.read"}) == {"policy.denied"}

test_what_is_about_persons if {
	_said("10.20.1.1", ["analysts"], {"events.read", "persons.read"}) == {"policy.denied"}
}

test_what_is_not_said_is_denied if sandbox.deny == {"policy.denied"} with input as {}
