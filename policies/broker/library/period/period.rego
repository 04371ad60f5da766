# METADATA
# title: Period
# description: |
#   Days from one date to another, both included and by UTC: a freeze, or access for a while.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.period

# METADATA
# description: The exchange is decided on a day of one of the periods of that name.
within(name) if {
	some period in data.broker.parameters.period[name]
	_first(period) <= _today
	_today <= _last(period)
}

# METADATA
# description: |
#   It is decided on a day of none of them. A period that cannot be read might be the one, so there
#   is no outside of it.
outside(name) if {
	periods := data.broker.parameters.period[name]
	is_array(periods)
	every period in periods {
		_is_outside(period)
	}
}

_is_outside(period) if {
	_today < _first(period)
	_last(period)
}

_is_outside(period) if {
	_last(period) < _today
	_first(period)
}

# Days since 1970 began.
_today := floor(input.request.time / 86400) if is_number(input.request.time)

_first(period) := _day(period.from)

# Undefined where it ends before it begins, which is a mistake.
_last(period) := last if {
	last := _day(period.to)
	_first(period) <= last
}

# Of a date like 2026-12-20. A year that begins in March has its odd day at its end.
_day(date) := ((era * 146097) + day_of_era) - 719468 if {
	count(date) == 10
	substring(date, 4, 1) == "-"
	substring(date, 7, 1) == "-"
	month := _number(date, 5, 2)
	month >= 1
	month <= 12
	day := _number(date, 8, 2)
	day >= 1
	day <= _days_of_month[month]
	since_march := (month + 9) % 12
	year := _number(date, 0, 4) - floor(since_march / 10)
	era := floor(year / 400)
	year_of_era := year - (era * 400)
	leap_days := floor(year_of_era / 4) - floor(year_of_era / 100)
	day_of_year := (floor(((153 * since_march) + 2) / 5) + day) - 1
	day_of_era := ((year_of_era * 365) + leap_days) + day_of_year
}

# By digits: what is no number in JSON, like 08, the engines read differently.
_number(text, at, length) := sum(values) if {
	values := [value |
		some offset in numbers.range(0, length - 1)
		value := _digits[substring(text, at + offset, 1)] * _powers[(length - 1) - offset]
	]

	# What is no digit has no value.
	count(values) == length
}

_powers := [1, 10, 100, 1000]

_digits := {"0": 0, "1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "6": 6, "7": 7, "8": 8, "9": 9}

# The 29th of February of a year without one is the first of March.
_days_of_month := {1: 31, 2: 29, 3: 31, 4: 30, 5: 31, 6: 30, 7: 31, 8: 31, 9: 30, 10: 31, 11: 30, 12: 31}
