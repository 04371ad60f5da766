package broker.rules.paying_test

import data.broker.rules.paying

_step_up := {"step_up": {"pay": {"acr": ["strong"], "max_age": "5m"}}}

_said(target, claims) := found if {
	found := paying.deny with input as {
		"request": {"time": 1768392000, "targets": [{"name": target}]},
		"subject": {"claims": claims},
	}
		with data.broker.parameters as _step_up
}

test_paying_just_after if {
	_said("transfers", {"acr": "strong", "auth_time": 1768391700}) == set()
}

test_paying_later if {
	_said("transfers", {"acr": "strong", "auth_time": 1768391699}) == {"policy.denied"}
}

test_paying_by_a_session if {
	_said("transfers", {"acr": "session", "auth_time": 1768391990}) == {"policy.denied"}
}

test_looking_needs_no_more if _said("accounts", {}) == set()

test_what_is_not_said_is_denied if {
	paying.deny == {"policy.denied"} with input as {} with data.broker.parameters as _step_up
}
