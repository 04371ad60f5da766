package broker.rules.nightly_test

import data.broker.rules.nightly

_cluster := "https://cluster.data.example"

_parameters := {
	"hours": {"night": [{"days": ["wed"], "from": "22:00", "to": "06:00", "utc_offset": "+00:00"}]},
	"actors": {"workload": {"issuers": [_cluster], "actor_token": true}},
	"age": {"run": {"actor": "15m"}},
}

# Thursday, 2026-01-15, at two in the morning: a window of Wednesday.
_night := 1768442400

_run := {
	"request": {"time": _night},
	"actor": {"issuer": _cluster, "issued_at": _night - 60},
	"delegation": {
		"actor_token": true,
		"acting": {"issuer": _cluster, "subject": "extract-0"},
		"chain": [{"issuer": _cluster, "subject": "extract-0"}],
	},
}

_said(given) := found if {
	found := nightly.deny with input as given with data.broker.parameters as _parameters
}

_with(path, value) := _said(json.patch(_run, [{"op": "add", "path": path, "value": value}]))

test_a_run_at_night if _said(_run) == set()

test_a_run_by_day if _with("/request/time", _night + 36000) == {"policy.denied"}

test_a_workload_without_its_token if _with("/delegation/actor_token", false) == {"policy.denied"}

test_somebody_of_elsewhere if {
	_with("/delegation/acting/issuer", "https://laptop.example") == {"policy.denied"}
}

test_a_token_of_an_earlier_run if _with("/actor/issued_at", _night - 901) == {"policy.denied"}

test_what_is_not_said_is_denied if _said({}) == {"policy.denied"}
