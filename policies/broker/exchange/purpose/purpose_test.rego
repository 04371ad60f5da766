package broker.exchange.purpose_test

import data.broker.exchange.fixture_test as fixture

_asking := fixture.granting("purposes", ["support-case", "billing"])

test_a_purpose_of_the_list_is_carried if {
	given := fixture.changed("/request/purpose", "billing")
	fixture.decide(given, _asking) == fixture.permitted({"purpose": "billing"})
}

test_a_purpose_beyond_the_list_is_refused[purpose] if {
	some purpose in {"marketing", "Billing", "", "*"}
	given := fixture.changed("/request/purpose", purpose)
	fixture.decide(given, _asking) == fixture.refused(["policy.purpose_not_allowed"])
}

test_a_purpose_that_is_asked_for_and_missing_or_no_string_is_refused[index] if {
	some index, given in fixture.broken("/request/purpose", {"string"})
	fixture.decide(given, _asking) == fixture.refused(["policy.purpose_missing"])
}

# What nobody vetted is not written into a token.
test_a_purpose_that_nobody_asked_for_is_not_carried if {
	given := fixture.changed("/request/purpose", "marketing")
	fixture.judge(given) == fixture.permitted({})
}

test_where_nobody_asks_a_purpose_may_be_anything if {
	every given in fixture.broken("/request/purpose", set()) {
		fixture.judge(given) == fixture.permitted({})
	}
}

test_every_grant_that_asks_must_list_it if {
	given := json.patch(fixture.for_both, [{"op": "add", "path": "/request/purpose", "value": "billing"}])
	rows := {"checkout": {
		"inventory": _asking.checkout.inventory,
		"ledger": object.union(fixture.grant, {"purposes": ["audit"]}),
	}}
	fixture.decide(given, rows) == fixture.refused(["policy.purpose_not_allowed"])
}

test_one_grant_that_asks_is_enough if {
	rows := fixture.granting_both({"purposes": ["audit"]})
	fixture.decide(fixture.for_both, rows) == fixture.refused(["policy.purpose_missing"])
}
