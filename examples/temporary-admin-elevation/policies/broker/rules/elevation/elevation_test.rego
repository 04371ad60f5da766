package broker.rules.elevation_test

import data.broker.rules.elevation

# Wednesday, 2026-01-14, at noon, and in the night before it.
_noon := 1768392000

_night := 1768356000

_parameters := {
	"ticket": {"change": {"projects": ["CHG"]}, "incident": {"projects": ["INC"]}},
	"step_up": {"fresh": {"amr": ["hwk"], "max_age": "5m"}},
	"break_glass": {"on_call": {
		"claim": "groups",
		"members": ["on-call"],
		"ticket": "incident",
		"step_up": "fresh",
	}},
	"hours": {"office": [{"days": ["wed"], "from": "07:00", "to": "19:00", "utc_offset": "+00:00"}]},
}

_in(groups, purpose, time, signed_in) := {
	"request": {"time": time, "purpose": purpose},
	"subject": {"claims": {"groups": groups, "amr": ["hwk"], "auth_time": signed_in}},
}

_said(given, asked) := {"deny": deny, "oblige": oblige} if {
	deny := elevation.deny with input as given
		with data.broker.parameters as _parameters
		with data.broker.exchange.scopes.granted as asked
	oblige := elevation.oblige with input as given
		with data.broker.parameters as _parameters
		with data.broker.exchange.scopes.granted as asked
}

_quiet := {"deny": set(), "oblige": set()}

_denied := {"deny": {"policy.denied"}, "oblige": set()}

_alerted := {"deny": set(), "oblige": {"alert"}}

_admin := {"cluster.admin"}

test_a_change_at_noon if _said(_in(["admins"], "CHG-1", _noon, _noon - 60), _admin) == _quiet

test_a_change_by_somebody_else if {
	_said(_in(["staff"], "CHG-1", _noon, _noon - 60), _admin) == _denied
}

test_a_change_without_a_ticket if {
	_said(_in(["admins"], null, _noon, _noon - 60), _admin) == _denied
}

test_a_change_by_who_signed_in_long_ago if {
	_said(_in(["admins"], "CHG-1", _noon, _noon - 301), _admin) == _denied
}

test_a_change_at_night if _said(_in(["admins"], "CHG-1", _night, _night - 60), _admin) == _denied

test_an_incident_at_night_alerts if {
	_said(_in(["on-call"], "INC-1", _night, _night - 60), _admin) == _alerted
}

test_an_incident_by_who_is_off_duty if {
	_said(_in(["admins"], "INC-1", _night, _night - 60), _admin) == _denied
}

test_reading_needs_nothing if {
	_said(_in([], null, _night, _night - 9000), {"cluster.read"}) == _quiet
}

test_what_is_not_said_is_denied if _said({}, _admin) == _denied
