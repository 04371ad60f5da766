# METADATA
# title: Roles
# description: |
#   Both sides have to agree: the grants say which service may take on a role, and the account that
#   has the role says from which accounts. Otherwise a service could be talked into using what it
#   may do for one account on behalf of another.
# schemas:
#   - input: schema.input
package broker.rules.roles

import data.broker.exchange.scopes
import data.broker.library.asks
import data.broker.library.step_up

# METADATA
# description: An account that is asked does not trust the subject's with that role.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not _trusted

# METADATA
# description: Who changes things signed in with a second factor, within the hour.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.scope("role.operator")
	not step_up.met("operator")
}

_trusted if {
	is_string(input.subject.claims.account)
	is_array(input.request.targets)
	count(input.request.targets) > 0
	every target in input.request.targets {
		every role in scopes.granted {
			role in data.broker.trusts[target.name][input.subject.claims.account]
		}
	}
}
