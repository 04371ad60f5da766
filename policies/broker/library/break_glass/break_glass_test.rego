package broker.library.break_glass_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.break_glass

_parameters := {
	"break_glass": {
		"plain": {"claim": "groups", "members": ["on-call"], "ticket": "incident"},
		"strong": {"claim": "groups", "members": ["on-call"], "ticket": "incident", "step_up": "key"},
	},
	"ticket": {"incident": {"projects": ["INC"]}},
	"step_up": {"key": {"amr": ["hwk"]}},
}

_invoked(name, claims, purpose, parameters) if {
	given := json.patch(fixture.good, [
		{"op": "add", "path": "/subject/claims", "value": claims},
		{"op": "add", "path": "/request/purpose", "value": purpose},
	])
	break_glass.invoked(name) with input as given with data.broker.parameters as parameters
}

_replaced(path, value) := json.patch(_parameters, [{"op": "add", "path": path, "value": value}])

_on_duty := {"groups": ["staff", "on-call"]}

test_who_is_on_duty_and_names_a_ticket if _invoked("plain", _on_duty, "INC-7", _parameters)

test_who_is_not_on_duty if not _invoked("plain", {"groups": ["staff"]}, "INC-7", _parameters)

test_without_a_ticket if {
	every purpose in [null, "", "because", "CHG-7"] {
		not _invoked("plain", _on_duty, purpose, _parameters)
	}
}

test_as_strongly_as_is_asked if {
	_invoked("strong", object.union(_on_duty, {"amr": ["hwk"]}), "INC-7", _parameters)
	not _invoked("strong", object.union(_on_duty, {"amr": ["pwd"]}), "INC-7", _parameters)
	not _invoked("strong", _on_duty, "INC-7", _parameters)
}

test_groups_that_are_missing_or_of_another_type_are_no_duty if {
	not _invoked("plain", {}, "INC-7", _parameters)
	every value in [null, true, "on-call", {"a": "on-call"}, [["on-call"]], []] {
		not _invoked("plain", {"groups": value}, "INC-7", _parameters)
	}
}

test_a_group_that_is_no_text_is_none_even_if_it_is_listed if {
	not _invoked("plain", {"groups": [null]}, "INC-7", _replaced("/break_glass/plain/members", [null]))
}

test_parameters_of_another_type_invoke_nothing if {
	every value in [null, "on-call", {"a": "on-call"}, []] {
		not _invoked("plain", _on_duty, "INC-7", _replaced("/break_glass/plain/members", value))
	}
	every value in [null, true, "incidents", ["incident"]] {
		not _invoked("plain", _on_duty, "INC-7", _replaced("/break_glass/plain/ticket", value))
	}
	every value in [true, "keys", ["key"]] {
		not _invoked("strong", _on_duty, "INC-7", _replaced("/break_glass/strong/step_up", value))
	}
}

test_a_parameter_that_is_missing_invokes_nothing[member] if {
	some member in ["claim", "members", "ticket"]
	parameters := json.patch(_parameters, [{"op": "remove", "path": ["break_glass", "plain", member]}])
	not _invoked("plain", _on_duty, "INC-7", parameters)
}

test_a_name_that_nobody_gave_invokes_nothing if not _invoked("other", _on_duty, "INC-7", _parameters)
