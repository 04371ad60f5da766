package broker.library.tenant_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.tenant

_served := {
	"claim": "tenant",
	"targets": {"inventory": ["acme", "globex"], "ledger": ["globex"]},
}

_of(tenant, given) := json.patch(given, [{"op": "add", "path": "/subject/claims/tenant", "value": tenant}])

_isolated(served, given) if {
	tenant.isolated("w") with input as given with data.broker.parameters as {"tenant": {"w": served}}
}

test_a_target_of_the_subject_s_tenant if _isolated(_served, _of("acme", fixture.good))

test_every_target_has_to_be_of_that_tenant if {
	_isolated(_served, _of("globex", fixture.for_both))
	not _isolated(_served, _of("acme", fixture.for_both))
}

test_a_tenant_that_no_target_serves if not _isolated(_served, _of("initech", fixture.good))

test_a_target_that_is_not_named_serves_nobody if {
	not _isolated({"claim": "tenant", "targets": {}}, _of("acme", fixture.good))
}

test_a_target_that_is_shared_serves_everybody if {
	_isolated(object.union(_served, {"shared": ["ledger"]}), _of("acme", fixture.for_both))
}

test_a_client_has_to_work_for_the_tenant_where_that_is_said if {
	_isolated(object.union(_served, {"clients": {"checkout": ["acme"]}}), _of("acme", fixture.good))
	not _isolated(object.union(_served, {"clients": {"checkout": ["globex"]}}), _of("acme", fixture.good))
	not _isolated(object.union(_served, {"clients": {}}), _of("acme", fixture.good))
}

test_a_subject_without_tenant_is_of_none if {
	not _isolated(_served, fixture.good)
	every value in [null, true, 1, ["acme"], {"a": "acme"}] {
		not _isolated(_served, _of(value, fixture.good))
	}
}

test_a_tenant_that_is_no_text_is_none_even_if_it_is_listed if {
	not _isolated({"claim": "tenant", "targets": {"inventory": [null, 1]}}, _of(null, fixture.good))
	not _isolated({"claim": "tenant", "targets": {"inventory": [null, 1]}}, _of(1, fixture.good))
}

test_targets_that_are_missing_or_of_another_type_are_not_isolated if {
	every given in fixture.broken("/request/targets", {"array"}) {
		not _isolated(_served, _of("acme", given))
	}
	not _isolated(_served, _of("acme", fixture.changed("/request/targets", [])))
}

test_a_target_or_client_without_name_is_not_isolated if {
	every given in fixture.broken("/request/targets/0/name", {"string"}) {
		not _isolated(_served, _of("acme", given))
	}
	every given in fixture.broken("/client/id", {"string"}) {
		not _isolated(object.union(_served, {"clients": {"checkout": ["acme"]}}), _of("acme", given))
	}
}

test_parameters_of_another_type_isolate_nothing if {
	every value in [null, "acme", {"a": "acme"}] {
		not _isolated({"claim": "tenant", "targets": {"inventory": value}}, _of("acme", fixture.good))
		not _isolated({"claim": "tenant", "targets": value}, _of("acme", fixture.good))
		not _isolated({"claim": "tenant", "targets": {}, "shared": value}, _of("acme", fixture.good))
	}
	not _isolated({"targets": {"inventory": ["acme"]}}, _of("acme", fixture.good))
}

test_a_name_that_nobody_gave_isolates_nothing if {
	not tenant.isolated("v") with input as _of("acme", fixture.good)
		with data.broker.parameters as {"tenant": {"w": _served}}
}
