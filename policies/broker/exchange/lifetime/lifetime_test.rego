package broker.exchange.lifetime_test

import data.broker.exchange.fixture_test as fixture

_refused := fixture.refused(["policy.denied"])

test_the_least_of_grant_and_target_holds[duration] if {
	some duration, seconds in {"90s": 90, "2m": 120, "5m": 300, "6m": 300, "1h": 300, "2d": 300}
	rows := fixture.granting("max_lifetime", duration)
	fixture.decide(fixture.good, rows) == fixture.permitted({"lifetime": seconds})
}

test_without_a_duration_the_target_s_holds if {
	fixture.decide(fixture.good, fixture.not_granting("max_lifetime")) == fixture.permitted({"lifetime": 300})
}

test_the_least_of_all_grants_and_targets_holds if {
	rows := fixture.granting_both({"max_lifetime": "30s"})
	fixture.decide(fixture.for_both, rows) == fixture.permitted({
		"targets": ["inventory", "ledger"],
		"lifetime": 30,
		"claims": {"acr"},
	})
}

test_a_duration_that_cannot_be_read_is_refused[duration] if {
	some duration in {
		"",
		"m",
		"5",
		"5 m",
		"5M",
		"5mm",
		"5m5",
		"m5",
		"-5m",
		"+5m",
		"1e9s",
		"0.5m",
		"0s",
		"007s",
		"5m\n",
		"٥m",
		"0x5m",
	}
	fixture.decide(fixture.good, fixture.granting("max_lifetime", duration)) == _refused
}

test_one_duration_that_cannot_be_read_is_enough if {
	rows := fixture.granting_both({"max_lifetime": "soon"})
	fixture.decide(fixture.for_both, rows) == _refused
}

test_a_target_without_a_bound_is_refused[index] if {
	some index, given in fixture.broken("/request/targets/0/max_lifetime", {"number"})
	fixture.judge(given) == _refused
}

test_no_time_at_all_is_refused[seconds] if {
	some seconds in {0, -1}
	given := fixture.changed("/request/targets/0/max_lifetime", seconds)
	fixture.judge(given) == _refused
}
