package broker.library.hours_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.hours

_office := {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:30", "utc_offset": "+00:00"}

_night := {"days": ["sun"], "from": "22:00", "to": "06:00", "utc_offset": "+00:00"}

# Seconds of the week that began on Monday, 2026-11-23.
_at(day, hour, minute) := ((1795392000 + (day * 86400)) + (hour * 3600)) + (minute * 60)

_within(window, time) if {
	hours.within("w") with input as fixture.changed("/request/time", time)
		with data.broker.parameters as {"hours": {"w": [window]}}
}

_changed(changes) := object.union(object.remove(_office, object.keys(changes)), changes)

test_the_first_and_the_last_second_are_within if {
	_within(_office, _at(0, 8, 0))
	_within(_office, _at(4, 18, 30) - 1)
}

test_the_second_before_and_the_second_after_are_not if {
	not _within(_office, _at(0, 8, 0) - 1)
	not _within(_office, _at(4, 18, 30))
}

test_another_day_is_not_within if not _within(_office, _at(5, 12, 0))

test_a_night_goes_on_into_the_next_day_and_week if {
	_within(_night, _at(6, 22, 0))
	_within(_night, _at(0, 5, 59))
	not _within(_night, _at(0, 6, 0))
	not _within(_night, _at(6, 5, 0))
}

test_a_clock_ahead_of_utc_begins_earlier if {
	_within(_changed({"utc_offset": "+05:30"}), _at(0, 2, 30))
	not _within(_changed({"utc_offset": "+05:30"}), _at(0, 2, 29))
}

test_a_clock_behind_utc_begins_later if {
	_within(_changed({"utc_offset": "-08:00"}), _at(0, 16, 0))
	not _within(_changed({"utc_offset": "-08:00"}), _at(0, 15, 59))

	# Friday evening there is Saturday here.
	_within(_changed({"utc_offset": "-08:00"}), _at(5, 2, 29))
}

test_a_whole_day if {
	_within(_changed({"from": "00:00", "to": "24:00"}), _at(0, 0, 0))
	_within(_changed({"from": "00:00", "to": "24:00"}), _at(4, 24, 0) - 1)
	not _within(_changed({"from": "00:00", "to": "24:00"}), _at(4, 24, 0))
}

test_one_of_several_windows_is_enough if {
	hours.within("w") with input as fixture.changed("/request/time", _at(6, 23, 0))
		with data.broker.parameters as {"hours": {"w": [_office, _night]}}
}

test_a_name_that_nobody_gave_is_never if {
	not hours.within("v") with input as fixture.good with data.broker.parameters as {"hours": {"w": [_office]}}
}

test_nothing_is_within_without_parameters if {
	not hours.within("w") with input as fixture.good with data.broker.parameters as {}
}

test_a_time_that_is_missing_or_no_number_is_never if {
	every given in fixture.broken("/request/time", {"number"}) {
		not hours.within("w") with input as given with data.broker.parameters as {"hours": {"w": [_office]}}
	}
}

test_a_window_that_is_written_wrongly_is_never[name] if {
	some name, changes in {
		"a day that is none": {"days": ["monday"]},
		"no days": {"days": []},
		"a time without its zero": {"from": "8:00"},
		"a time with a dot": {"from": "08.00"},
		"letters": {"from": "ab:00"},
		"sixty minutes": {"from": "07:60"},
		"after midnight": {"to": "24:01"},
		"of no length": {"from": "18:30"},
		"a number": {"to": 18},
		"an offset without sign": {"utc_offset": "00:00"},
		"an offset that is a zone": {"utc_offset": "Europe"},
		"an offset that is too long": {"utc_offset": "+00:000"},
	}
	every time in [_at(0, 12, 0), _at(0, 18, 30), _at(0, 0, 0)] {
		not _within(_changed(changes), time)
	}
}

test_a_window_without_one_of_its_members_is_never[member] if {
	some member, _ in _office
	not _within(object.remove(_office, [member]), _at(0, 12, 0))
}
