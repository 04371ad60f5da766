package broker.exchange.reuse_test

import data.broker.exchange.fixture_test as fixture

test_without_a_word_each_request_gets_a_token_of_its_own if {
	not "reuse" in object.keys(fixture.judge(fixture.good))
}

test_what_the_grant_says_holds[duration] if {
	some duration, seconds in {"1s": 1, "30s": 30, "1m": 60, "120s": 120}
	rows := fixture.granting("reuse", duration)
	fixture.decide(fixture.good, rows) == fixture.permitted({"reuse": seconds})
}

test_no_longer_than_a_token_lives[duration] if {
	some duration in {"121s", "5m", "1h", "2d"}
	rows := fixture.granting("reuse", duration)
	fixture.decide(fixture.good, rows) == fixture.permitted({"reuse": 120})
}

_both(changes) := fixture.permitted(object.union(
	{
		"targets": ["inventory", "ledger"],
		"lifetime": 60,
		"claims": {"acr"},
	},
	changes,
))

test_every_grant_must_say_so if {
	fixture.decide(fixture.for_both, fixture.granting_both({"reuse": "30s"})) == _both({})
}

test_the_least_of_all_grants_holds[durations] if {
	some durations, seconds in {["30s", "20s"]: 20, ["20s", "30s"]: 20, ["20s", "20s"]: 20, ["5m", "5m"]: 60}
	rows := {"checkout": {
		"inventory": object.union(fixture.grant, {"reuse": durations[0]}),
		"ledger": object.union(fixture.grant, {"reuse": durations[1]}),
	}}
	fixture.decide(fixture.for_both, rows) == _both({"reuse": seconds})
}

test_what_cannot_be_read_is_no_reuse[duration] if {
	some duration in ["", "s", "30", "30 s", "30S", "-30s", "0s", "007s", "1e9s", 30, 0, true, null, ["30s"], {"s": 30}]
	rows := fixture.granting("reuse", duration)
	fixture.decide(fixture.good, rows) == fixture.permitted({})
}

test_a_refusal_says_nothing_of_it if {
	given := fixture.changed("/delegation/reenters", true)
	fixture.decide(given, fixture.granting("reuse", "30s")) == fixture.refused(["delegation.loop"])
}
