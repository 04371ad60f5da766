package broker.rules.functions_test

import data.broker.rules.functions

test_a_function_that_acts_for_itself if {
	functions.deny == set() with input as {"delegation": {"chain": []}}
}

test_a_function_that_acts_for_another if {
	functions.deny == {"policy.denied"} with input as {"delegation": {"chain": [{"subject": "mailer"}]}}
}

test_who_acts_is_not_said if {
	every given in [{}, {"delegation": {}}, {"delegation": {"chain": null}}] {
		functions.deny == {"policy.denied"} with input as given
	}
}
