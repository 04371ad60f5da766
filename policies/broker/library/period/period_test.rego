package broker.library.period_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.period

_freeze := [{"from": "2026-12-20", "to": "2027-01-03"}]

# Whether a time is within and outside of these.
_sides(periods, time) := {side |
	some side in ["within", "outside"]
	_is(side, periods, time)
}

_is("within", periods, time) if {
	period.within("w") with input as fixture.changed("/request/time", time)
		with data.broker.parameters as {"period": {"w": periods}}
}

_is("outside", periods, time) if {
	period.outside("w") with input as fixture.changed("/request/time", time)
		with data.broker.parameters as {"period": {"w": periods}}
}

# 2026-12-20T00:00:00Z and 2027-01-04T00:00:00Z.
_begin := 1797724800

_end := 1799020800

test_the_first_and_the_last_second_are_within if {
	_sides(_freeze, _begin) == {"within"}
	_sides(_freeze, _end - 1) == {"within"}
}

test_the_second_before_and_the_second_after_are_outside if {
	_sides(_freeze, _begin - 1) == {"outside"}
	_sides(_freeze, _end) == {"outside"}
}

test_one_of_several_is_enough if {
	periods := array.concat([{"from": "2020-01-01", "to": "2020-01-01"}], _freeze)
	_sides(periods, _begin) == {"within"}
	_sides(periods, 1577836800) == {"within"}
	_sides(periods, 1577836800 + 86400) == {"outside"}
}

# Known days: the second one, leap years by every rule, and the ends of a year.
test_every_date_has_its_day[date] if {
	some date, day in {
		"1970-01-02": 1,
		"1972-02-29": 789,
		"1999-12-31": 10956,
		"2000-02-29": 11016,
		"2000-03-01": 11017,
		"2026-11-27": 20784,
		"2100-02-28": 47540,
		"2100-03-01": 47541,
		"2400-02-29": 157113,
	}
	periods := [{"from": date, "to": date}]
	_sides(periods, day * 86400) == {"within"}
	_sides(periods, (day * 86400) - 1) == {"outside"}
	_sides(periods, (day + 1) * 86400) == {"outside"}
}

test_no_period_is_outside_of_itself_and_none_is_within if {
	_sides([], _begin) == {"outside"}
}

test_a_period_that_cannot_be_read_has_neither_side[note] if {
	some note, one in {
		"ends before it begins": {"from": "2027-01-03", "to": "2026-12-20"},
		"no end": {"from": "2026-12-20"},
		"no beginning": {"to": "2027-01-03"},
		"a month that is none": {"from": "2026-13-01", "to": "2027-01-03"},
		"month zero": {"from": "2026-00-20", "to": "2027-01-03"},
		"a day that is none": {"from": "2026-11-31", "to": "2027-01-03"},
		"day zero": {"from": "2026-12-00", "to": "2027-01-03"},
		"without zeros": {"from": "2026-1-2", "to": "2027-01-03"},
		"with slashes": {"from": "2026/12/20", "to": "2027/01/03"},
		"half slashes": {"from": "2026-12/20", "to": "2027-01-03"},
		"letters": {"from": "2026-12-2O", "to": "2027-01-03"},
		"a time": {"from": "2026-12-20T00:00:00Z", "to": "2027-01-03"},
		"a number": {"from": 20261220, "to": 20270103},
		"no object": "2026-12-20",
	}
	every time in [0, _begin, _end, _end * 2] {
		_sides([one], time) == set()
		_sides(array.concat(_freeze, [one]), time) - {"within"} == set()
	}
}

test_periods_that_are_no_list_have_no_outside if {
	every periods in [null, "2026-12-20", true, {"a": "b"}] {
		not _is("outside", periods, _begin)
	}
}

test_a_time_that_is_missing_or_no_number_has_neither_side if {
	every given in fixture.broken("/request/time", {"number"}) {
		not period.within("w") with input as given with data.broker.parameters as {"period": {"w": _freeze}}
		not period.outside("w") with input as given with data.broker.parameters as {"period": {"w": _freeze}}
	}
}

test_a_name_that_nobody_gave_has_neither_side if {
	not period.within("v") with input as fixture.good with data.broker.parameters as {"period": {"w": _freeze}}
	not period.outside("v") with input as fixture.good with data.broker.parameters as {"period": {"w": _freeze}}
}
