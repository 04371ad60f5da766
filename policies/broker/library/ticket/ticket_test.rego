package broker.library.ticket_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.ticket

_change := {"projects": ["INC", "CHG"]}

_by_claim := {"projects": ["CHG"], "claim": "change"}

_given(asked, purpose) if {
	ticket.given("w") with input as fixture.changed("/request/purpose", purpose)
		with data.broker.parameters as {"ticket": {"w": asked}}
}

_claimed(asked, claims) if {
	ticket.given("w") with input as fixture.changed("/subject/claims", claims)
		with data.broker.parameters as {"ticket": {"w": asked}}
}

test_a_ticket_of_a_project if {
	_given(_change, "CHG-1")
	_given(_change, "INC-0123456789")
}

test_what_is_no_ticket_of_a_project[purpose] if {
	some purpose in [
		"", "CHG", "CHG-", "CHG1", "chg-1", "CHG-1a", "CHG-1 ", " CHG-1", "CHG--1", "CHG-1-2",
		"XCHG-1", "PRJ-1", "-1", "CHG-01234567890", "CHG-١",
	]
	not _given(_change, purpose)
}

test_a_purpose_that_is_missing_or_no_text_is_no_ticket if {
	every given in fixture.broken("/request/purpose", {"string"}) {
		not ticket.given("w") with input as given with data.broker.parameters as {"ticket": {"w": _change}}
	}
}

test_a_ticket_that_the_issuer_says if {
	_claimed(_by_claim, {"change": "CHG-7"})
	not _claimed(_by_claim, {"change": "INC-7"})
}

test_where_the_issuer_has_to_say_it_the_caller_cannot if {
	not _given(_by_claim, "CHG-7")
	every value in [null, true, 7, ["CHG-7"], {"a": "CHG-7"}] {
		not _claimed(_by_claim, {"change": value})
	}
}

test_only_an_open_ticket_will_do_where_these_are_said if {
	asked := object.union(_change, {"open": ["CHG-7"]})
	_given(asked, "CHG-7")
	not _given(asked, "CHG-8")
	not _given(object.union(_change, {"open": []}), "CHG-7")
	not _given(object.union(_change, {"open": {"a": "CHG-7"}}), "CHG-7")
	not _given(object.union(_change, {"open": ["PRJ-7"]}), "PRJ-7")
}

test_projects_that_are_none_have_no_tickets if {
	every projects in [[], null, "CHG", {"a": "CHG"}, [1], [""]] {
		not _given({"projects": projects}, "CHG-1")
		not _given({"projects": projects}, "-1")
	}
	not _given({}, "CHG-1")
}

test_a_name_that_nobody_gave_has_no_tickets if {
	not ticket.given("v") with input as fixture.changed("/request/purpose", "CHG-1")
		with data.broker.parameters as {"ticket": {"w": _change}}
}
