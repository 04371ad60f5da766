package broker.exchange.derivation_test

import data.broker.exchange.fixture_test as fixture

_refused := fixture.refused(["policy.scope_not_held"])

_from(source) := fixture.permitted({"derived": {{"scope": "stock.read", "from": source}}})

_holding(scopes) := fixture.changed("/subject/scopes", scopes)

test_a_scope_follows_from_one_that_is_held if {
	fixture.judge(fixture.good) == _from("orders.write")
}

test_a_scope_does_not_follow_from_one_that_is_not_held if {
	fixture.judge(_holding(["inventory.read"])) == _refused
}

test_the_first_source_that_is_held_is_named if {
	rows := fixture.granting("derives", {"stock.read": ["orders.admin", "orders.write", "inventory.read"]})
	fixture.decide(fixture.good, rows) == _from("orders.write")
}

# Only by the grant: holding it is not enough where the grant lists it under derives alone.
test_a_held_scope_that_is_only_derivable_needs_its_source if {
	fixture.judge(_holding(["inventory.read", "stock.read"])) == _refused
}

test_what_is_held_and_listed_is_not_derived if {
	given := _holding(["inventory.read", "orders.write", "stock.read"])
	rows := fixture.granting("scopes", ["inventory.read", "stock.read"])
	fixture.decide(given, rows) == fixture.permitted({"derived": set()})
}

test_identity_is_a_source_where_the_issuer_has_no_scopes if {
	given := json.patch(_holding(["inventory.read"]), [{"op": "add", "path": "/subject/scopeless", "value": true}])
	fixture.judge(given) == _from("identity")
}

# `identity` is a word of the grants: a token that holds a scope of that name holds nothing.
test_a_scope_called_identity_is_no_source if {
	fixture.judge(_holding(["identity", "inventory.read"])) == _refused
}

test_nothing_follows_from_anything_but_true[index] if {
	some index, value in [null, false, 1, "true", ["true"]]
	given := json.patch(_holding(["inventory.read"]), [{"op": "add", "path": "/subject/scopeless", "value": value}])
	fixture.judge(given) == _refused
}

test_nothing_follows_where_nobody_says_that_the_issuer_has_no_scopes if {
	given := json.patch(fixture.without("/subject/scopeless"), [{
		"op": "replace",
		"path": "/subject/scopes",
		"value": ["inventory.read"],
	}])
	fixture.judge(given) == _refused
}

test_every_grant_must_derive_it if {
	fixture.decide(fixture.for_both, fixture.granting_both({"derives": {}})) == fixture.refused(["policy.scope_not_granted"])
}

test_each_grant_may_derive_it_from_something_else if {
	rows := fixture.granting_both({"derives": {"stock.read": ["inventory.read"]}})
	fixture.decide(fixture.for_both, rows) == fixture.permitted({
		"targets": ["inventory", "ledger"],
		"lifetime": 60,
		"claims": {"acr"},
		"derived": {
			{"scope": "stock.read", "from": "orders.write"},
			{"scope": "stock.read", "from": "inventory.read"},
		},
	})
}
