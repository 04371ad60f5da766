# METADATA
# title: Loop
# description: Whether a party that was in the chain may act in it again.
# schemas:
#   - input: schema.input
package broker.exchange.loop

import data.broker.exchange.grants
import data.broker.exchange.mode

# METADATA
# description: Every grant allows it, in so many words.
default reentry := false

reentry if {
	every row in grants.rows {
		row.grant.reentry == true
	}
}

# METADATA
# description: Nobody acts who had acted before, or every grant allows that, or nobody new acts.
absent if input.delegation.reenters == false

absent if reentry

# Impersonation puts nobody into the chain.
absent if mode.agreed == "impersonation"

# METADATA
# description: The actor was in the chain before, or nobody said that it was not.
# custom:
#   code: delegation.loop
deny contains rego.metadata.rule().custom.code if {
	grants.complete
	not absent
}
