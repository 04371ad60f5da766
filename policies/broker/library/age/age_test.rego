package broker.library.age_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.age

_within(bounds, given) if {
	age.within("w") with input as given with data.broker.parameters as {"age": {"w": bounds}}
}

_acted := fixture.changed("/actor", fixture.good.subject)

test_a_subject_token_of_exactly_that_age if _within({"subject": "60s"}, fixture.good)

test_a_subject_token_a_second_older if not _within({"subject": "59s"}, fixture.good)

test_an_actor_token_of_exactly_that_age if _within({"actor": "1m"}, _acted)

test_an_actor_token_a_second_older if not _within({"actor": "59s"}, _acted)

test_both_have_to_be_young if {
	_within({"subject": "60s", "actor": "60s"}, _acted)
	not _within({"subject": "60s", "actor": "59s"}, _acted)
	not _within({"subject": "59s", "actor": "60s"}, _acted)
}

test_no_actor_token_is_young_enough if _within({"actor": "1s"}, fixture.good)

test_an_actor_that_nobody_told_of_is_not if {
	every given in fixture.broken("/actor", {"object"}) {
		not _within({"actor": "1d"}, json.patch(given, [{"op": "add", "path": "/actor", "value": false}]))
	}
	not _within({"actor": "1d"}, fixture.without("/actor"))
}

test_nothing_is_young_enough_where_nothing_is_bounded if not _within({}, fixture.good)

test_nothing_is_by_a_name_that_nobody_gave if {
	not age.within("v") with input as fixture.good with data.broker.parameters as {"age": {"w": {"subject": "1d"}}}
}

test_a_bound_that_is_written_wrongly_is_not_met if {
	every bound in [null, 900, "900", "0s", "-1m", "1e3s", "", "1w"] {
		not _within({"subject": bound}, fixture.good)
	}
	not _within({"subject": "1d", "client": "1d"}, fixture.good)
}

test_a_time_that_is_missing_or_no_number_is_not_young[path] if {
	some path in ["/request/time", "/subject/issued_at", "/actor/issued_at"]
	every value in [null, true, "1795521600", [], {}] {
		not _within({"subject": "1d", "actor": "1d"}, json.patch(_acted, [{"op": "add", "path": path, "value": value}]))
	}
	not _within({"subject": "1d", "actor": "1d"}, json.patch(_acted, [{"op": "remove", "path": path}]))
}
