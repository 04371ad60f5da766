package broker.exchange.loop_test

import data.broker.exchange.fixture_test as fixture

_refused := fixture.refused(["delegation.loop"])

_reentering := fixture.changed("/delegation/reenters", true)

test_whoever_acted_before_does_not_act_again if {
	fixture.judge(_reentering) == _refused
}

test_reentry_where_the_grant_says_so if {
	fixture.decide(_reentering, fixture.granting("reentry", true)) == fixture.permitted({"reentry": true})
}

test_every_grant_must_say_so if {
	given := json.patch(fixture.for_both, [{"op": "add", "path": "/delegation/reenters", "value": true}])
	fixture.decide(given, fixture.granting_both({"reentry": true})) == _refused
}

test_anything_but_true_is_no_reentry[value] if {
	some value in [null, 1, "true", ["true"], {"x": true}]
	fixture.decide(_reentering, fixture.granting("reentry", value)) == _refused
}

# Impersonation puts nobody into the chain.
test_impersonation_is_no_loop if {
	fixture.decide(_reentering, fixture.granting("mode", "impersonation")) == fixture.permitted({"mode": "impersonation"})
}

test_a_loop_that_nobody_ruled_out_is_refused[index] if {
	some index, given in fixture.broken("/delegation/reenters", set())
	fixture.judge(given) == _refused
}
