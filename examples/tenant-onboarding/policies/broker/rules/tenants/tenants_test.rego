package broker.rules.tenants_test

import data.broker.rules.tenants

_parameters := {
	"tenant": {"placed": {
		"claim": "tenant",
		"targets": {"cell": ["umbrella"]},
		"clients": {"onboarding": ["umbrella"], "support": ["umbrella"]},
	}},
	"ticket": {"order": {"projects": ["ORD"], "open": ["ORD-1"]}},
}

_said(client, tenant, groups, order) := found if {
	found := tenants.deny with input as {
		"client": {"id": client},
		"request": {"purpose": order, "targets": [{"name": "cell"}]},
		"subject": {"claims": {"tenant": tenant, "groups": groups}},
	}
		with data.broker.parameters as _parameters
}

_admin := ["tenant-admin"]

test_its_administrator_sets_a_tenant_up if {
	_said("onboarding", "umbrella", _admin, "ORD-1") == set()
}

test_nobody_else_does if _said("onboarding", "umbrella", ["staff"], "ORD-1") == {"policy.denied"}

test_an_order_is_open if _said("onboarding", "umbrella", _admin, "ORD-2") == {"policy.denied"}

test_another_tenant_is_elsewhere if {
	_said("onboarding", "initech", _admin, "ORD-1") == {"policy.denied"}
}

test_support_needs_no_order if _said("support", "umbrella", [], null) == set()

test_support_sees_its_own_tenants if _said("support", "initech", [], null) == {"policy.denied"}

test_what_is_not_said_is_denied if {
	tenants.deny == {"policy.denied"} with input as {} with data.broker.parameters as _parameters
}
