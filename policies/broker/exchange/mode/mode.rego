# METADATA
# title: Mode
# description: Whether the token will name a new actor. RFC 8693 §1.1.
# schemas:
#   - input: schema.input
package broker.exchange.mode

import data.broker.exchange.grants

# METADATA
# description: What every grant says, if they say the same.
agreed := mode if {
	count(_modes) == 1
	some mode in _modes
	mode in {"delegation", "impersonation"}
}

_modes := {object.get(row.grant, "mode", "delegation") | some row in grants.rows}

# METADATA
# description: The token will name a new actor, or no actor token would be lost.
allowed if agreed == "delegation"

allowed if {
	agreed == "impersonation"
	input.delegation.actor_token == false
}

# METADATA
# description: The grants for the requested targets say different modes.
# custom:
#   code: policy.mode_conflict
deny contains rego.metadata.rule().custom.code if count(_modes) > 1

# METADATA
# description: An actor token was sent, or nobody said that none was; impersonation takes none.
# custom:
#   code: policy.impersonation_with_actor_token
deny contains rego.metadata.rule().custom.code if {
	agreed == "impersonation"
	not allowed
}
