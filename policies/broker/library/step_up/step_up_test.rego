package broker.library.step_up_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.step_up

_claims := {"acr": "gold", "amr": ["pwd", "hwk"], "auth_time": fixture.good.request.time - 300}

_met(asked, claims) if {
	step_up.met("w") with input as fixture.changed("/subject/claims", claims)
		with data.broker.parameters as {"step_up": {"w": asked}}
}

test_an_acr_of_the_list if _met({"acr": ["silver", "gold"]}, _claims)

test_another_acr if not _met({"acr": ["platinum"]}, _claims)

test_every_method_of_the_list if {
	_met({"amr": ["hwk"]}, _claims)
	_met({"amr": ["hwk", "pwd"]}, _claims)
}

test_a_method_that_is_missing if not _met({"amr": ["hwk", "pin"]}, _claims)

test_a_sign_in_of_exactly_that_age if _met({"max_age": "5m"}, _claims)

test_a_sign_in_a_second_older if not _met({"max_age": "299s"}, _claims)

test_all_that_is_asked_has_to_be_met if {
	_met({"acr": ["gold"], "amr": ["hwk"], "max_age": "5m"}, _claims)
	not _met({"acr": ["gold"], "amr": ["hwk"], "max_age": "4m"}, _claims)
	not _met({"acr": ["gold"], "amr": ["pin"], "max_age": "5m"}, _claims)
	not _met({"acr": ["none"], "amr": ["hwk"], "max_age": "5m"}, _claims)
}

test_nothing_asked_is_never_met if {
	every asked in [{}, [], null, "", {"acr": []}, {"amr": []}] {
		not _met(asked, _claims)
	}
}

test_what_is_misspelt_or_of_another_type_is_never_met if {
	every asked in [
		{"acr": "gold"},
		{"acr": {"a": "gold"}},
		{"amr": "hwk"},
		{"amr": {"a": "hwk"}},
		{"max_age": 300},
		{"acr": ["gold"], "arm": ["hwk"]},
	] {
		not _met(asked, _claims)
	}
}

test_a_name_that_nobody_gave_is_never_met if {
	not step_up.met("v") with input as fixture.changed("/subject/claims", _claims)
		with data.broker.parameters as {"step_up": {"w": {"acr": ["gold"]}}}
}

test_a_claim_that_is_missing_or_of_another_type_meets_nothing[name] if {
	some name, wanted in {"acr": ["gold", null, 1, true], "amr": ["hwk"]}
	not _met({name: wanted}, object.remove(_claims, [name]))
	every value in [null, true, 1, "hwk", {"a": "hwk"}, []] {
		not _met({name: wanted}, object.union(object.remove(_claims, [name]), {name: value}))
	}
}

test_a_time_of_sign_in_that_is_no_number_is_never_young if {
	not _met({"max_age": "30d"}, object.remove(_claims, ["auth_time"]))
	every value in [null, false, "0", [], {}] {
		not _met({"max_age": "30d"}, object.union(object.remove(_claims, ["auth_time"]), {"auth_time": value}))
	}
}
