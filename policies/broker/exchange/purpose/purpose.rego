# METADATA
# title: Purpose
# description: Why the token is wanted, where a grant asks.
# schemas:
#   - input: schema.input
package broker.exchange.purpose

import data.broker.exchange.grants

# METADATA
# description: |
#   What the token will carry. Null where no grant asks: a purpose that nobody vetted is not
#   written into a token.
accepted := input.request.purpose if {
	_asked
	allowed
}

accepted := null if {
	grants.complete
	not _asked
}

# METADATA
# description: No grant asks why, or what the request says is in the list of every one that does.
allowed if {
	grants.complete
	not _asked
}

allowed if {
	_given
	every row in _asking {
		input.request.purpose in row.grant.purposes
	}
}

# Compared with the empty list, not counted: whatever else stands there asks, also a mistake.
_asking := [row | some row in grants.rows; row.grant.purposes != []]

# `_asking` holds what the grants say, never what the caller says, so `not _asked` is safe.
_asked if count(_asking) > 0

_given if is_string(input.request.purpose)

# METADATA
# description: A grant asks for a purpose and the request names none.
# custom:
#   code: policy.purpose_missing
deny contains rego.metadata.rule().custom.code if {
	_asked
	not _given
}

# METADATA
# description: The purpose is not in the list of every grant that asks for one.
# custom:
#   code: policy.purpose_not_allowed
deny contains rego.metadata.rule().custom.code if {
	_asked
	_given
	not allowed
}
