package broker.exchange_test

import data.broker.exchange.fixture_test as fixture

test_a_good_request_is_permitted if {
	fixture.judge(fixture.good) == fixture.permitted({})
}

# Whoever is asked about nothing says no.
test_an_input_that_is_no_object_is_refused[name] if {
	some name, given in {"nothing": {}, "null": null, "a list": [], "a string": "x", "a number": 1}
	fixture.judge(given) == fixture.refused(["policy.target_not_granted"])
}

test_a_member_that_is_missing_or_no_object_is_refused[note] if {
	some path, reasons in {
		"/request": ["policy.target_not_granted"],
		"/client": ["policy.target_not_granted"],
		"/subject": ["policy.issuer_not_allowed", "policy.scope_not_held"],
		"/delegation": ["delegation.depth_exceeded", "delegation.loop"],
	}
	some index, given in fixture.broken(path, {"object"})
	note := sprintf("%s %d", [path, index])
	fixture.judge(given) == fixture.refused(reasons)
}

# What the stock rules do not read is for rules of one's own, and changes nothing here.
_changes_nothing(path) if {
	every given in [fixture.without(path), fixture.changed(path, null), fixture.changed(path, 1)] {
		fixture.judge(given) == fixture.permitted({})
	}
}

test_other_members_of_the_request_change_nothing[member] if {
	some member in {"id", "time", "audiences", "resources", "requested_token_type", "source"}
	_changes_nothing(sprintf("/request/%s", [member]))
}

test_other_members_of_the_subject_change_nothing[member] if {
	some member in {
		"subject",
		"client_id",
		"token_type",
		"audiences",
		"issued_at",
		"expires_at",
		"claims",
	}
	_changes_nothing(sprintf("/subject/%s", [member]))
}

test_the_rest_changes_nothing[path] if {
	some path in {
		"/client/auth_method",
		"/client/targets",
		"/actor",
		"/delegation/acting",
		"/delegation/chain",
	}
	_changes_nothing(path)
}

# RFC 8693 §4.1: an administrator who acted before gives nobody anything.
test_prior_actors_permit_nothing if {
	given := json.patch(fixture.changed("/request/scopes", ["inventory.write"]), [{
		"op": "add",
		"path": "/delegation/chain/-",
		"value": {"issuer": "https://idp.test", "subject": "admin"},
	}])
	fixture.judge(given) == fixture.refused(["policy.scope_not_held"])
}

# RFC 8693 §4.1: nor does their absence take anything away.
test_prior_actors_take_nothing_away if {
	given := json.patch(fixture.good, [{
		"op": "add",
		"path": "/delegation/chain/-",
		"value": {"issuer": "https://idp.test", "subject": "admin"},
	}])
	fixture.judge(given) == fixture.permitted({})
}

# An actor token's own scopes and claims are the actor's, not the subject's.
test_an_actor_lends_no_scope if {
	actor := object.union(fixture.good.subject, {"subject": "batch", "scopes": ["inventory.write"]})
	given := json.patch(fixture.changed("/request/scopes", ["inventory.write"]), [
		{"op": "add", "path": "/actor", "value": actor},
		{"op": "add", "path": "/delegation/actor_token", "value": true},
	])
	fixture.judge(given) == fixture.refused(["policy.scope_not_held"])
}

test_the_reason_that_helps_most_comes_first if {
	given := json.patch(fixture.good, [
		{"op": "add", "path": "/subject/issuer", "value": "https://other.test"},
		{"op": "add", "path": "/delegation/depth", "value": 4},
		{"op": "add", "path": "/delegation/reenters", "value": true},
		{"op": "add", "path": "/request/scopes", "value": ["x", "orders.read", "inventory.write"]},
		{"op": "add", "path": "/request/targets/0/scopes/-", "value": "orders.read"},
	])
	fixture.decide(given, fixture.granting("purposes", ["audit"])) == fixture.refused([
		"policy.issuer_not_allowed",
		"policy.purpose_missing",
		"delegation.depth_exceeded",
		"delegation.loop",
		"policy.scope_unknown",
		"policy.scope_not_granted",
		"policy.scope_not_held",
	])
}

test_every_target_needs_its_grant_and_all_of_them_bound if {
	rows := fixture.granting_both({"max_depth": 2, "issuers": ["*"]})
	fixture.decide(fixture.for_both, rows) == fixture.permitted({
		"targets": ["inventory", "ledger"],
		"lifetime": 60,
		"max_depth": 2,
		"claims": {"acr"},
	})
}

# A grant of scopes alone is complete; schemas/grants.json says what then holds.
test_what_a_grant_leaves_out_has_a_default if {
	given := fixture.changed("/request/scopes", ["inventory.read"])
	rows := fixture.grants({"scopes": ["inventory.read"]})
	fixture.decide(given, rows) == fixture.permitted({
		"scopes": {"inventory.read"},
		"derived": set(),
		"lifetime": 300,
		"max_depth": 8,
	})
}

# Every member of a grant that is not of its type grants nothing by that.
test_a_grant_that_is_malformed_does_not_widen[note] if {
	some member, reasons in {
		"scopes": ["policy.scope_not_granted"],
		"derives": ["policy.scope_not_granted"],
		"max_lifetime": ["policy.denied"],
		"max_depth": ["delegation.depth_exceeded"],
		"mode": ["policy.denied"],
		"purposes": ["policy.purpose_missing"],
		"issuers": ["policy.issuer_not_allowed"],
	}
	some value in [null, true, "x", -1, {"x": "y"}]
	note := sprintf("%s %v", [member, value])
	fixture.decide(fixture.good, fixture.granting(member, value)) == fixture.refused(reasons)
}

# A real package is in rules/example.
_denying(rules, given) := decision if {
	decision := data.broker.exchange.decision with input as given
		with data.broker.grants as fixture.grants(fixture.grant)
		with data.broker.rules as rules
}

test_rules_of_ones_own_refuse[name] if {
	some name, rules in {
		"a package": {"hours": {"deny": {"policy.denied"}}},
		"one of several": {"a": {"deny": set()}, "b": {"deny": {"policy.denied"}}},
		"a rule that is not a set": {"hours": {"deny": true}},
		"a rule that is a text": {"hours": {"deny": "policy.denied"}},
		"a rule that is a list": {"hours": {"deny": ["policy.denied"]}},
		"a rule that is null": {"hours": {"deny": null}},
	}
	_denying(rules, fixture.good) == fixture.refused(["policy.denied"])
}

test_rules_of_ones_own_that_say_nothing_refuse_nothing[name] if {
	some name, rules in {
		"none": {},
		"an empty set": {"hours": {"deny": set()}},
		"a default": {"hours": {"deny": false}},
		"another name": {"hours": {"denied": {"policy.denied"}}},
	}
	_denying(rules, fixture.good) == fixture.permitted({})
}

test_a_reason_of_ones_own_comes_after_the_stock_ones if {
	_denying(
		{"hours": {"deny": {"policy.denied"}}},
		fixture.changed("/delegation/depth", 4),
	) == fixture.refused(["delegation.depth_exceeded", "policy.denied"])
}

test_rules_of_ones_own_oblige[name] if {
	some name, rules in {
		"a package": {"night": {"oblige": {"alert"}}},
		"several": {"night": {"oblige": {"alert"}}, "admin": {"oblige": {"alert"}, "deny": set()}},
	}
	_denying(rules, fixture.good) == fixture.permitted({"obligations": {"alert"}})
}

# The broker knows which there are, and refuses the others.
test_what_they_oblige_to_is_not_left_out if {
	_denying({"night": {"oblige": {"alert", "call"}}}, fixture.good) == fixture.permitted({"obligations": {"alert", "call"}})
}

test_what_is_refused_obliges_to_nothing if {
	rules := {"night": {"oblige": {"alert"}, "deny": {"policy.denied"}}}
	_denying(rules, fixture.good) == fixture.refused(["policy.denied"])
}

test_an_obligation_that_is_no_set_refuses[index] if {
	some index, value in [true, "alert", ["alert"], null, {"alert": true}]
	_denying({"night": {"oblige": value}}, fixture.good) == fixture.refused(["policy.denied"])
}

test_no_obligation_obliges_to_nothing if {
	every value in [set(), false] {
		_denying({"night": {"oblige": value}}, fixture.good) == fixture.permitted({})
	}
}

test_what_obliges_is_not_answered_with_a_token_that_was_made_before if {
	rows := fixture.granting("reuse", "30s")
	decision := data.broker.exchange.decision with input as fixture.good
		with data.broker.grants as rows
		with data.broker.rules as {"night": {"oblige": {"alert"}}}
	decision == fixture.permitted({"obligations": {"alert"}})
}
