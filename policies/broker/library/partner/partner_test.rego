package broker.library.partner_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.partner

_allowed := {
	"issuers": ["https://idp.test", "https://agents.test"],
	"targets": ["inventory"],
	"scopes": ["inventory.read", "stock.read"],
}

_within(allowed, given) if {
	partner.within("w") with input as given
		with data.broker.parameters as {"partner": {"w": allowed}}
		with data.broker.grants as fixture.granting_both({})
}

_changed(changes) := object.union(object.remove(_allowed, object.keys(changes)), changes)

_others := _changed({"issuers": ["https://agents.test"], "targets": [], "scopes": []})

test_the_partner_s_subjects_get_what_it_may_have if _within(_allowed, fixture.good)

test_no_other_scope if not _within(_changed({"scopes": ["inventory.read"]}), fixture.good)

test_no_other_target if {
	not _within(_changed({"targets": ["ledger"]}), fixture.good)
	not _within(_allowed, fixture.for_both)
}

test_no_other_client_where_these_are_said if {
	_within(_changed({"clients": ["checkout"]}), fixture.good)
	not _within(_changed({"clients": ["reports"]}), fixture.good)
	not _within(_changed({"clients": []}), fixture.good)
}

test_an_exchange_without_the_partner_is_not_its_concern if _within(_others, fixture.good)

test_the_partner_s_actors_are_bound_like_its_subjects if {
	agent := {"issuer": "https://agents.test", "subject": "a"}
	not _within(_others, fixture.changed("/delegation/acting", agent))
	not _within(_others, fixture.changed("/delegation/chain/1", agent))
}

test_who_is_not_named_might_be_the_partner[path] if {
	some path in ["/subject/issuer", "/delegation/acting/issuer", "/delegation/chain/0/issuer"]
	every given in fixture.broken(path, {"string"}) {
		not _within(_others, given)
	}
}

test_a_chain_that_is_missing_or_no_list_might_hold_the_partner if {
	every given in fixture.broken("/delegation/chain", {"array"}) {
		not _within(_others, given)
	}
}

test_targets_that_are_missing_or_of_another_type_are_not_within if {
	every given in array.concat(fixture.broken("/request/targets", {"array"}), fixture.broken("/request/targets/0/name", {"string"})) {
		not _within(_allowed, given)
	}
	not _within(_allowed, fixture.changed("/request/targets", []))
}

test_a_client_that_is_missing_or_no_text_is_not_within if {
	every given in fixture.broken("/client/id", {"string"}) {
		not _within(_changed({"clients": ["checkout"]}), given)
	}
}

test_parameters_of_another_type_allow_nothing[member] if {
	some member in ["issuers", "targets", "scopes", "clients"]
	every value in ["https://idp.test", 1, true, {}] {
		not _within(object.union(_changed({"targets": []}), {member: value}), fixture.good)
	}
}

test_no_issuers_are_no_partner_whom_nothing_concerns if {
	not _within(_changed({"issuers": [], "targets": []}), fixture.good)
}

test_a_name_that_nobody_gave_allows_nothing if {
	not partner.within("v") with input as fixture.good
		with data.broker.parameters as {"partner": {"w": _others}}
		with data.broker.grants as fixture.grants(fixture.grant)
}
