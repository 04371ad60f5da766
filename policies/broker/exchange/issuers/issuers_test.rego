package broker.exchange.issuers_test

import data.broker.exchange.fixture_test as fixture

_refused := fixture.refused(["policy.issuer_not_allowed"])

test_subjects_of_another_issuer_are_refused[issuer] if {
	some issuer in {"https://other.test", "https://idp.test/", "https://IDP.test", "*", ""}
	fixture.judge(fixture.changed("/subject/issuer", issuer)) == _refused
}

test_a_star_means_any_issuer if {
	given := fixture.changed("/subject/issuer", "https://other.test")
	fixture.decide(given, fixture.granting("issuers", ["*"])) == fixture.permitted({})
}

test_an_empty_list_means_no_issuer if {
	fixture.decide(fixture.good, fixture.granting("issuers", [])) == _refused
}

test_every_grant_must_allow_the_issuer if {
	rows := fixture.granting_both({"issuers": ["https://other.test"]})
	fixture.decide(fixture.for_both, rows) == _refused
}

# A subject without issuer is nobody's, also where any issuer will do.
test_an_issuer_that_is_missing_or_no_string_is_refused[index] if {
	some index, given in fixture.broken("/subject/issuer", {"string"})
	fixture.decide(given, fixture.granting("issuers", ["*"])) == _refused
}
