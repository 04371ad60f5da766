package broker.library.asks_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.asks

test_the_requested_target_is_asked_for if {
	asks.target("ledger") with input as fixture.for_both
}

test_another_target_is_not_asked_for if {
	not asks.target("ledger") with input as fixture.good
}

test_any_target_is_asked_for_where_none_is_said if {
	every given in fixture.broken("/request/targets", {"array"}) {
		asks.target("ledger") with input as given
	}
}

test_any_target_is_asked_for_where_one_has_no_name if {
	every given in fixture.broken("/request/targets/0/name", {"string"}) {
		asks.target("ledger") with input as given
	}
}

test_the_client_asks if asks.client("checkout") with input as fixture.good

test_another_client_does_not_ask if not asks.client("reports") with input as fixture.good

test_any_client_asks_where_none_is_said if {
	every given in fixture.broken("/client/id", {"string"}) {
		asks.client("reports") with input as given
	}
}

_scopes_of(given) := [name |
	some name in ["inventory.read", "inventory.write", "stock.read"]
	asks.scope(name) with input as given with data.broker.grants as fixture.grants(fixture.grant)
]

test_a_scope_that_is_held_or_follows_is_asked_for if {
	_scopes_of(fixture.good) == ["inventory.read", "stock.read"]
}

test_a_default_is_asked_for_where_nothing_is_named if {
	_scopes_of(fixture.changed("/request/scopes", [])) == ["inventory.read"]
}

test_what_is_refused_is_not_asked_for if {
	_scopes_of(fixture.changed("/request/scopes", ["inventory.write"])) == []
}
