package broker.library.actors_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.actors

_jwt := "urn:ietf:params:oauth:token-type:jwt"

_services := {"issuers": ["https://broker.test", "https://workloads.test"]}

_allowed(asked, given) if {
	actors.allowed("w") with input as given with data.broker.parameters as {"actors": {"w": asked}}
}

_asking(changes) := object.union(_services, changes)

# With an actor token of a workload.
_acted := json.patch(fixture.good, [
	{"op": "add", "path": "/delegation/acting", "value": {"issuer": "https://workloads.test", "subject": "checkout"}},
	{"op": "add", "path": "/delegation/chain/0", "value": {"issuer": "https://workloads.test", "subject": "checkout"}},
	{"op": "add", "path": "/delegation/actor_token", "value": true},
	{"op": "add", "path": "/actor", "value": object.union(fixture.good.subject, {"token_type": _jwt})},
])

test_an_actor_of_one_of_the_issuers if {
	_allowed(_services, fixture.good)
	_allowed(_services, _acted)
}

test_an_actor_of_another_issuer if {
	not _allowed({"issuers": ["https://broker.test"]}, _acted)
}

test_one_before_it_of_another_issuer if {
	before := {"issuer": "https://idp.test", "subject": "bob"}
	not _allowed(_services, fixture.changed("/delegation/chain/1", before))
}

test_an_actor_token_where_one_is_needed if {
	_allowed(_asking({"actor_token": true}), _acted)
	not _allowed(_asking({"actor_token": true}), fixture.good)
}

test_no_actor_token_where_none_may_be if {
	_allowed(_asking({"actor_token": false}), fixture.good)
	not _allowed(_asking({"actor_token": false}), _acted)
}

test_a_token_of_one_of_the_types if {
	_allowed(_asking({"token_types": [_jwt]}), _acted)
	not _allowed(_asking({"token_types": ["urn:ietf:params:oauth:token-type:access_token"]}), _acted)
	not _allowed(_asking({"token_types": [_jwt]}), fixture.good)
}

test_no_more_links_than_that if {
	_allowed(_asking({"links": 2}), _acted)
	not _allowed(_asking({"links": 1}), _acted)
}

test_without_issuers_nobody_may_act if {
	every issuers in [[], null, "https://broker.test", {"a": "https://broker.test"}, [null]] {
		not _allowed({"issuers": issuers}, fixture.good)
	}
	not _allowed({}, fixture.good)
}

test_what_is_misspelt_or_of_another_type_is_never_met[index] if {
	some index, changes in [
		{"actor_token": null}, {"actor_token": "false"}, {"token_types": _jwt}, {"token_types": {"a": _jwt}},
		{"links": "9"}, {"links": null}, {"link": 9},
	]
	not _allowed(_asking(changes), fixture.good)
	not _allowed(_asking(changes), _acted)
}

test_an_input_that_does_not_say_allows_nobody[path] if {
	some path, type in {
		"/delegation/acting": "object",
		"/delegation/acting/issuer": "string",
		"/delegation/chain": "array",
		"/delegation/chain/0/issuer": "string",
	}
	every given in fixture.broken(path, {type}) {
		not _allowed(_services, given)
	}
}

test_an_input_that_does_not_say_meets_nothing_more if {
	every given in fixture.broken("/delegation/actor_token", {"boolean"}) {
		not _allowed(_asking({"actor_token": false}), given)
		not _allowed(_asking({"token_types": [_jwt]}), given)
	}
}

test_a_name_that_nobody_gave_allows_nobody if {
	not actors.allowed("v") with input as fixture.good with data.broker.parameters as {"actors": {"w": _services}}
}
