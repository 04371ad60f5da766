# METADATA
# title: An example of a rule of one's own
# description: Refuses whatever comes from one address, which no other test uses.
# schemas:
#   - input: schema.input
package broker.rules.example

import data.broker.exchange.fixture_test as fixture

# METADATA
# description: That network is being moved.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if input.request.source == "198.51.100.99"

test_a_rule_of_ones_own_refuses if {
	given := fixture.changed("/request/source", "198.51.100.99")
	fixture.judge_with_rules(given) == fixture.refused(["policy.denied"])
}

test_a_rule_of_ones_own_lets_others_pass if {
	fixture.judge_with_rules(fixture.good) == fixture.permitted({})
}
