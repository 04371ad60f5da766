# METADATA
# title: Paying
# description: Money moves for who has just shown that it is them.
# schemas:
#   - input: schema.input
package broker.rules.paying

import data.broker.library.asks
import data.broker.library.step_up

# METADATA
# description: The subject did not sign in as strongly, or as lately, as paying asks for.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.target("transfers")
	not step_up.met("pay")
}
