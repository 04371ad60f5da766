# METADATA
# title: What is asked
# description: |
#   Whom a rule of one's own concerns. Where the input does not say, it concerns the rule: what
#   stands before it in a rule must not be the reason that nothing is denied.
# schemas:
#   - input: schema.input
package broker.library.asks

import data.broker.exchange.scopes

# METADATA
# description: The target is among the requested ones, or nobody said which those are.
target(name) if {
	some each in input.request.targets
	each.name == name
}

target(_) if not _targets_said

# METADATA
# description: The client asks, or nobody said who does.
client(name) if input.client.id == name

client(_) if not _client_said

# METADATA
# description: |
#   The scope would be in the token: also if it is a default, or all that narrowing leaves. Where
#   none would, the exchange is refused anyway.
scope(name) if name in scopes.granted

_targets_said if {
	is_array(input.request.targets)
	every each in input.request.targets {
		is_string(each.name)
	}
}

_client_said if is_string(input.client.id)
