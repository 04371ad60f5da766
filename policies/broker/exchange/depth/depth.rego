# METADATA
# title: Depth
# description: How many exchanges there may be from the first subject token to the last.
# schemas:
#   - input: schema.input
package broker.exchange.depth

import data.broker.exchange.grants

# METADATA
# description: |
#   The least of what the subject token and every grant allow: no hop raises it. A bound that is
#   not a number makes this undefined: a string sorts after every number and would bound nothing.
bound := min(_bounds) if {
	every each in _bounds {
		is_number(each)
	}
}

_bounds := array.concat(
	[input.delegation.max_depth],
	[object.get(row.grant, "max_depth", input.delegation.max_depth) | some row in grants.rows],
)

# A rule, not a function: `not f(input.x)` is undefined when input.x is, and then nothing denies.
# is_number, because null sorts before every number: null <= 3 is true.
# METADATA
# description: This exchange is not one too many.
within if {
	is_number(input.delegation.depth)
	input.delegation.depth <= bound
}

# METADATA
# description: The exchange is one too many, or how many there were is not known.
# custom:
#   code: delegation.depth_exceeded
deny contains rego.metadata.rule().custom.code if {
	grants.complete
	not within
}
