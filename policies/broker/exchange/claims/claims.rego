# METADATA
# title: Claims
# description: Which of the subject's claims go into the token.
# schemas:
#   - input: schema.input
package broker.exchange.claims

import data.broker.exchange.grants

# METADATA
# description: The names that every target lists. A policy can take names away and add none.
released := {name |
	some row in grants.rows
	some name in row.target.claims
	every other in grants.rows {
		is_array(other.target.claims)
		name in other.target.claims
	}
}
