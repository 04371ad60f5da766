package broker.rules.environments_test

import data.broker.rules.environments

_hours := {"hours": {"deploy": [{"days": ["wed"], "from": "08:00", "to": "17:00", "utc_offset": "+00:00"}]}}

_release := {
	"repository": "shop/web",
	"ref": "refs/heads/main",
	"ref_protected": "true",
	"environment": "production",
}

# Wednesday, 2026-01-14, at noon.
_input(target, claims, time) := {
	"request": {"time": time, "targets": [{"name": target}]},
	"subject": {"claims": claims},
}

_denies(given) if {
	environments.deny == {"policy.denied"} with input as given with data.broker.parameters as _hours
}

_passes(given) if {
	environments.deny == set() with input as given with data.broker.parameters as _hours
}

test_a_release_passes if _passes(_input("production", _release, 1768392000))

test_staging_passes_at_night if {
	_passes(_input("staging", {"repository": "shop/web", "environment": "staging"}, 1768356000))
}

test_production_needs_each_claim if {
	every name in object.keys(_release) {
		_denies(_input("production", object.remove(_release, [name]), 1768392000))
		_denies(_input("production", object.union(_release, {name: null}), 1768392000))
	}
}

test_staging_is_no_way_to_another_environment if {
	_denies(_input("staging", _release, 1768392000))
}

test_production_rests_at_night if _denies(_input("production", _release, 1768356000))

test_what_is_not_said_is_denied if {
	_denies({})
	_denies({"subject": {"claims": _release}})
}
