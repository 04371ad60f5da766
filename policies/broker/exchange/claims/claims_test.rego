package broker.exchange.claims_test

import data.broker.exchange.fixture_test as fixture

test_what_the_target_lists_is_released if {
	given := fixture.changed("/request/targets/0/claims", ["email"])
	fixture.judge(given) == fixture.permitted({"claims": {"email"}})
}

test_what_one_of_the_targets_does_not_list_is_not_released if {
	rows := fixture.granting_both({})
	fixture.decide(fixture.for_both, rows) == fixture.permitted({
		"targets": ["inventory", "ledger"],
		"lifetime": 60,
		"claims": {"acr"},
	})
}

# They come from the target's list, not from what the subject brings.
test_the_subject_adds_none if {
	given := fixture.changed("/subject/claims", {"iss": "x", "groups": ["admin"]})
	fixture.judge(given) == fixture.permitted({})
}

test_a_list_that_is_missing_or_no_list_releases_nothing[index] if {
	some index, given in fixture.broken("/request/targets/0/claims", {"array"})
	fixture.judge(given) == fixture.permitted({"claims": set()})
}
