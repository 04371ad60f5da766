package broker.exchange.grants_test

import data.broker.exchange.fixture_test as fixture

_refused := fixture.refused(["policy.target_not_granted"])

# CVE-2022-1245: a target is granted to a client or it is not; nobody gets one by naming it.
test_without_a_grant_there_is_nothing[name] if {
	some name, rows in {
		"none at all": {},
		"another client's": {"ledger": {"inventory": fixture.grant}},
		"for another target": {"checkout": {"ledger": fixture.grant}},
		"a client without targets": {"checkout": {}},
		"a client that is null": {"checkout": null},
		"a grant that is null": fixture.grants(null),
		"a grant that is false": fixture.grants(false),
		"a grant that is a list": fixture.grants([fixture.grant]),
		"a grant that is a text": fixture.grants("*"),
		"a wildcard, which means nothing": {"*": {"*": fixture.grant}},
		"another spelling": {"checkout": {"Inventory": fixture.grant}},
	}
	fixture.decide(fixture.good, rows) == _refused
}

# RFC 8693 §2.2.2: one that cannot be served refuses the whole request.
test_each_of_several_targets_needs_a_grant if {
	fixture.judge(fixture.for_both) == _refused
}

# A request for nothing is not granted by its emptiness.
test_no_target_is_refused if {
	fixture.judge(fixture.changed("/request/targets", [])) == _refused
}

test_targets_that_are_missing_or_no_list_refuse[index] if {
	some index, given in fixture.broken("/request/targets", {"array"})
	fixture.judge(given) == _refused
}

test_targets_in_an_object_are_no_list if {
	given := fixture.changed("/request/targets", {"x": fixture.inventory})
	fixture.judge(given) == _refused
}

test_a_target_without_a_name_is_refused[index] if {
	some index, given in fixture.broken("/request/targets/0/name", {"string"})
	fixture.judge(given) == _refused
}

test_a_client_without_an_id_is_refused[index] if {
	some index, given in fixture.broken("/client/id", {"string"})
	fixture.judge(given) == _refused
}
