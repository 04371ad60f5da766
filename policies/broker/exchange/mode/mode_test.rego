package broker.exchange.mode_test

import data.broker.exchange.fixture_test as fixture

_impersonation := fixture.granting("mode", "impersonation")

_with_actor_token := fixture.changed("/delegation/actor_token", true)

test_delegation_takes_an_actor_token if {
	fixture.judge(_with_actor_token) == fixture.permitted({})
}

test_impersonation_where_the_grant_says_so if {
	fixture.decide(fixture.good, _impersonation) == fixture.permitted({"mode": "impersonation"})
}

# An actor token that was sent is never silently dropped.
test_impersonation_takes_no_actor_token if {
	fixture.decide(_with_actor_token, _impersonation) == fixture.refused(["policy.impersonation_with_actor_token"])
}

test_impersonation_is_refused_where_nobody_says_that_no_actor_token_was_sent[index] if {
	some index, given in fixture.broken("/delegation/actor_token", set())
	fixture.decide(given, _impersonation) == fixture.refused(["policy.impersonation_with_actor_token"])
}

test_delegation_does_not_depend_on_it if {
	every given in fixture.broken("/delegation/actor_token", set()) {
		fixture.judge(given) == fixture.permitted({})
	}
}

test_grants_that_differ_in_mode_are_refused if {
	rows := fixture.granting_both({"mode": "impersonation"})
	fixture.decide(fixture.for_both, rows) == fixture.refused(["policy.mode_conflict"])
}

test_a_mode_that_nobody_knows_is_refused[mode] if {
	some mode in {"Delegation", "none", ""}
	fixture.decide(fixture.good, fixture.granting("mode", mode)) == fixture.refused(["policy.denied"])
}
