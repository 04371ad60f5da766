# METADATA
# title: Reuse
# description: How long the same request may be answered with the same token again, in seconds.
# schemas:
#   - input: schema.input
package broker.exchange.reuse

import data.broker.exchange.grants
import data.broker.exchange.lifetime

# METADATA
# description: |
#   The least of what every grant says, and no longer than a token lives; undefined if one of them
#   says nothing, or what can't be read: then each request gets a token of its own.
seconds := min(array.concat([lifetime.seconds], _said)) if {
	count(_said) > 0
	count(_said) == count(grants.rows)
}

# A list, not a set: two grants that say the same are two.
_said := [bound | some row in grants.rows; bound := lifetime.seconds_of(row.grant.reuse)]

# METADATA
# description: The member of the decision, which is left out where there is no reuse.
said := {"reuse": seconds}

default said := {}
