# METADATA
# title: Lifetime
# description: How long the token may live, in seconds.
# schemas:
#   - input: schema.input
package broker.exchange.lifetime

import data.broker.exchange.grants

# METADATA
# description: |
#   The least of what every target and every grant allow; undefined if one of them can't be read,
#   or if that leaves no time at all. What is left of the subject's and the actor's own tokens is
#   the broker's to subtract.
seconds := least if {
	count(_bounds) == count(grants.rows) * 2
	least := min(_bounds)
	least > 0
}

_bounds := array.concat(
	[bound | some row in grants.rows; bound := row.target.max_lifetime; is_number(bound)],
	[bound | some row in grants.rows; bound := seconds_of(object.get(row.grant, "max_lifetime", _none))],
)

# Longer than any target's, whose own bound then decides.
_none := "99999d"

# METADATA
# description: |
#   How many seconds a duration has; undefined for what is none. They are written like 90s, 5m, 24h
#   or 30d, as in the settings.
seconds_of(duration) := to_number(digits) * _units[unit] if {
	# to_number reads 1e9 and -1 as well; what is left here of such a text is no unit.
	unit := trim_left(duration, "0123456789")
	digits := trim_suffix(duration, unit)
	digits != ""

	# Nor is 007s a duration: what JSON does not take for a number, the engines read differently.
	not startswith(digits, "0")
}

_units := {"s": 1, "m": 60, "h": 3600, "d": 86400}
