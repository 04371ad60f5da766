package broker.proxy_test

import data.broker.proxy

_good := {
	"upstream": {"name": "idp", "clients": ["checkout", "billing"], "parameters": ["tenant"]},
	"client": {"id": "checkout"},
	"request": {
		"scopes": ["orders.read"],
		"audiences": ["https://orders.test"],
		"resources": [],
		"parameters": {"tenant": "blue"},
	},
}

_allowed := {"allow": true, "reasons": []}

_refused(codes) := {"allow": false, "reasons": codes}

_changed(path, value) := json.patch(_good, [{"op": "replace", "path": path, "value": value}])

_broken(path, good) := array.concat(
	[json.patch(_good, [{"op": "remove", "path": path}])],
	[given |
		some value in [null, true, 7, "text", [], ["x"], {}, {"x": "y"}]
		not type_name(value) in good
		given := _changed(path, value)
	],
)

test_a_client_of_the_upstream_is_allowed if {
	proxy.decision == _allowed with input as _good
}

test_without_scopes_and_parameters_it_is_allowed if {
	given := json.patch(_good, [
		{"op": "replace", "path": "/request/scopes", "value": []},
		{"op": "replace", "path": "/request/parameters", "value": {}},
	])
	proxy.decision == _allowed with input as given
}

test_a_star_means_any_client if {
	given := json.patch(_good, [
		{"op": "replace", "path": "/upstream/clients", "value": ["*"]},
		{"op": "replace", "path": "/client/id", "value": "anybody"},
	])
	proxy.decision == _allowed with input as given
}

test_another_client_is_refused[id] if {
	some id in {"Checkout", "checkout ", "", "*", "idp"}
	given := _changed("/client/id", id)
	proxy.decision == _refused(["proxy.client_not_allowed"]) with input as given
}

test_an_empty_list_means_no_client if {
	given := _changed("/upstream/clients", [])
	proxy.decision == _refused(["proxy.client_not_allowed"]) with input as given
}

test_a_parameter_that_is_not_declared_is_refused if {
	given := _changed("/request/parameters", {"tenant": "blue", "actor": "root"})
	proxy.decision == _refused(["proxy.parameter_not_allowed"]) with input as given
}

test_a_client_that_is_missing_or_no_string_is_refused[index] if {
	some index, given in _broken("/client/id", {"string"})
	any_client := json.patch(given, [{"op": "replace", "path": "/upstream/clients", "value": ["*"]}])
	proxy.decision == _refused(["proxy.client_not_allowed"]) with input as any_client
}

test_clients_that_are_missing_or_no_list_are_refused[index] if {
	some index, given in _broken("/upstream/clients", {"array", "object"})
	proxy.decision == _refused(["proxy.client_not_allowed"]) with input as given
}

test_parameters_that_are_missing_or_no_object_are_refused[index] if {
	some index, given in _broken("/request/parameters", {"object", "array"})
	proxy.decision == _refused(["proxy.parameter_not_allowed"]) with input as given
}

test_scopes_that_are_missing_or_no_list_are_refused[index] if {
	some index, given in _broken("/request/scopes", {"array"})
	proxy.decision == _refused(["proxy.denied"]) with input as given
}

test_nothing_is_refused if {
	proxy.decision == _refused(["proxy.client_not_allowed", "proxy.parameter_not_allowed"]) with input as {}
}

test_a_rule_of_ones_own_refuses if {
	rules := {"night": {"deny": {"proxy.scope_not_allowed"}}}
	proxy.decision == _refused(["proxy.scope_not_allowed"]) with input as _good
		with data.broker.proxy_rules as rules
}

test_a_rule_of_ones_own_that_is_no_set_refuses[denial] if {
	some denial in {true, "no", null}
	rules := {"night": {"deny": denial}}
	proxy.decision == _refused(["proxy.denied"]) with input as _good
		with data.broker.proxy_rules as rules
}

test_a_rule_of_ones_own_that_is_false_denies_nothing if {
	rules := {"night": {"deny": false}}
	proxy.decision == _allowed with input as _good
		with data.broker.proxy_rules as rules
}
