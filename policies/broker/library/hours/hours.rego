# METADATA
# title: Hours
# description: |
#   Windows that come again every week. How far their clock is ahead of UTC stands beside them,
#   because a policy has no clock of its own and no time zones.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.hours

# METADATA
# description: The exchange is decided within one of the windows of that name.
within(name) if {
	is_number(input.request.time)
	some window in data.broker.parameters.hours[name]
	some day in window.days
	begins := (_days[day] * 1440) + _minute(window.from)
	since := ((_minute_of_the_week(window.utc_offset) - begins) + 10080) % 10080
	since < _length(_minute(window.from), _minute(window.to))
}

# Minutes since Monday began by that clock. 1970 began on a Thursday, three days later.
_minute_of_the_week(offset) := ((floor(input.request.time / 60) + ahead) + 4320) % 10080 if {
	count(offset) == 6
	ahead := _signs[substring(offset, 0, 1)] * _minute(substring(offset, 1, -1))
}

# A window from 22:00 to 06:00 ends on the next day; one of no length is a mistake, and is none.
_length(from, to) := to - from if to > from

_length(from, to) := (to + 1440) - from if to < from

# Minutes since midnight of a time like 08:30.
_minute(time) := minute if {
	count(time) == 5
	substring(time, 2, 1) == ":"
	minutes := _two_digits(time, 3)
	minutes < 60
	minute := (_two_digits(time, 0) * 60) + minutes
	minute <= 1440
}

# By digits, for 08 is no number in JSON, and what is none the engines read differently.
_two_digits(text, at) := (_digits[substring(text, at, 1)] * 10) + _digits[substring(text, at + 1, 1)]

_digits := {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 7, "8": 8, "9": 9}

_signs := {"+": 1, "-": -1}

_days := {"mon": 0, "tue": 1, "wed": 2, "thu": 3, "fri": 4, "sat": 5, "sun": 6}
