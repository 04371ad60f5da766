package broker.exchange.scopes_test

import data.broker.exchange.fixture_test as fixture

_asking(scopes) := fixture.changed("/request/scopes", scopes)

_narrowing := fixture.granting("excess", "narrow")

test_a_scope_that_the_target_does_not_know_is_refused[scope] if {
	some scope in {"orders.write", "Inventory.read", "inventory.*", "*", "", "inventory.read "}
	given := _asking(["inventory.read", scope])
	fixture.judge(given) == fixture.refused(["policy.scope_unknown"])
}

test_a_scope_that_is_not_granted_is_refused if {
	rows := fixture.granting("scopes", ["inventory.write"])
	fixture.decide(_asking(["inventory.read"]), rows) == fixture.refused(["policy.scope_not_granted"])
}

test_a_scope_that_is_not_held_is_refused if {
	fixture.judge(_asking(["inventory.write"])) == fixture.refused(["policy.scope_not_held"])
}

test_each_scope_has_its_own_reason if {
	given := _asking(["x", "inventory.read", "inventory.write"])
	rows := fixture.granting("scopes", ["inventory.write"])
	fixture.decide(given, rows) == fixture.refused([
		"policy.scope_unknown",
		"policy.scope_not_granted",
		"policy.scope_not_held",
	])
}

test_no_scope_means_the_defaults if {
	fixture.judge(_asking([])) == fixture.permitted({"scopes": {"inventory.read"}, "derived": set()})
}

test_without_defaults_a_scope_must_be_named[index] if {
	some index, rows in [fixture.granting("default_scopes", []), fixture.not_granting("default_scopes")]
	fixture.decide(_asking([]), rows) == fixture.refused(["scope.missing"])
}

test_defaults_are_those_of_every_grant if {
	given := json.patch(fixture.for_both, [{"op": "replace", "path": "/request/scopes", "value": []}])
	fixture.decide(given, fixture.granting_both({"default_scopes": ["stock.read"]})) == fixture.refused(["scope.missing"])
}

# Defaults are what a request without scope means, not what it gets: they are judged like any.
test_a_default_that_is_not_held_is_refused if {
	rows := fixture.granting("default_scopes", ["inventory.write"])
	fixture.decide(_asking([]), rows) == fixture.refused(["policy.scope_not_held"])
}

test_narrowing_drops_what_cannot_be_granted if {
	given := _asking(["x", "inventory.read", "inventory.write", "stock.read"])
	fixture.decide(given, _narrowing) == fixture.permitted({})
}

test_narrowing_to_nothing_is_refused if {
	given := _asking(["x", "inventory.write"])
	fixture.decide(given, _narrowing) == fixture.refused(["policy.scope_nothing_left"])
}

test_narrowing_needs_a_scope_as_well if {
	rows := fixture.grants(object.union(fixture.grant, {"excess": "narrow", "default_scopes": []}))
	fixture.decide(_asking([]), rows) == fixture.refused(["scope.missing"])
}

# Requested rights are every scope at every target, RFC 8693 §2.1.1.
test_a_scope_must_be_known_at_every_target if {
	given := json.patch(fixture.for_both, [{
		"op": "replace",
		"path": "/request/scopes",
		"value": ["inventory.read", "inventory.write"],
	}])
	fixture.decide(given, fixture.granting_both({})) == fixture.refused(["policy.scope_unknown"])
}

test_one_grant_that_refuses_is_enough if {
	given := json.patch(fixture.for_both, [{"op": "add", "path": "/request/scopes/-", "value": "x"}])
	fixture.decide(given, fixture.granting_both({"excess": "narrow"})) == fixture.refused(["policy.scope_unknown"])
}

test_anything_but_narrow_refuses[index] if {
	some index, excess in [null, true, "Narrow", "", "ignore", ["narrow"]]
	given := _asking(["inventory.read", "x"])
	fixture.decide(given, fixture.granting("excess", excess)) == fixture.refused(["policy.scope_unknown"])
}

test_scopes_that_are_missing_or_no_list_are_refused[index] if {
	some index, given in fixture.broken("/request/scopes", {"array"})
	fixture.judge(given) == fixture.refused(["scope.missing"])
}

test_a_scope_that_is_no_string_is_unknown[index] if {
	some index, scope in [null, true, 1, ["inventory.read"], {"x": "inventory.read"}]
	fixture.judge(_asking(["inventory.read", scope])) == fixture.refused(["policy.scope_unknown"])
}

# TX-6-04: a subject without scopes holds none, not all.
test_a_subject_whose_scopes_are_missing_or_no_list_holds_nothing[index] if {
	some index, given in fixture.broken("/subject/scopes", {"array"})
	fixture.judge(given) == fixture.refused(["policy.scope_not_held"])
}

test_a_subject_with_no_scope_holds_nothing if {
	fixture.judge(fixture.changed("/subject/scopes", [])) == fixture.refused(["policy.scope_not_held"])
}

test_a_target_whose_scopes_are_missing_or_no_list_knows_nothing[index] if {
	some index, given in fixture.broken("/request/targets/0/scopes", {"array"})
	fixture.judge(given) == fixture.refused(["policy.scope_unknown"])
}
