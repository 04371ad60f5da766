package broker.exchange.depth_test

import data.broker.exchange.fixture_test as fixture

_refused := fixture.refused(["delegation.depth_exceeded"])

test_the_last_exchange_that_is_allowed if {
	fixture.judge(fixture.changed("/delegation/depth", 3)) == fixture.permitted({})
}

test_one_exchange_more_than_the_grant_allows if {
	fixture.judge(fixture.changed("/delegation/depth", 4)) == _refused
}

test_the_subject_s_own_bound_is_never_raised if {
	given := fixture.changed("/delegation/max_depth", 2)
	fixture.judge(given) == fixture.permitted({"max_depth": 2})
}

test_one_exchange_more_than_the_subject_allows if {
	given := json.patch(fixture.changed("/delegation/max_depth", 2), [{
		"op": "add",
		"path": "/delegation/depth",
		"value": 3,
	}])
	fixture.judge(given) == _refused
}

test_the_least_of_all_grants_holds if {
	rows := fixture.granting_both({"max_depth": 1})
	given := json.patch(fixture.for_both, [{"op": "add", "path": "/delegation/depth", "value": 2}])
	fixture.decide(given, rows) == _refused
}

# null <= 3 is true in Rego, and so is false <= 3.
test_a_depth_that_is_missing_or_no_number_is_refused[index] if {
	some index, given in fixture.broken("/delegation/depth", {"number"})
	fixture.judge(given) == _refused
}

# 1 <= "x" is true in Rego, and so is 1 <= [].
test_a_bound_that_is_missing_or_no_number_is_refused[index] if {
	some index, given in fixture.broken("/delegation/max_depth", {"number"})
	fixture.judge(given) == _refused
}

test_a_bound_is_needed_also_where_the_grant_has_none if {
	every given in fixture.broken("/delegation/max_depth", {"number"}) {
		fixture.decide(given, fixture.not_granting("max_depth")) == _refused
	}
}
