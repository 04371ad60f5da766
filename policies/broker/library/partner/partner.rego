# METADATA
# title: Partner
# description: What the subjects of another organisation may get at most, whatever the grants say.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.partner

import data.broker.exchange.scopes

# METADATA
# description: |
#   Nobody of the partner is part of the exchange, or it stays within what the partner may have.
#   Somebody is part of it as the subject, as who acts, or as who acted before.
within(name) if {
	issuers := data.broker.parameters.partner[name].issuers
	is_array(issuers)
	count(issuers) > 0
	every issuer in _parties {
		not issuer in issuers
	}
}

within(name) if {
	allowed := data.broker.parameters.partner[name]
	every target in _targets {
		target in allowed.targets
	}
	every scope in scopes.granted {
		scope in allowed.scopes
	}
	_may_ask(object.get(allowed, "clients", null))
}

_may_ask(null)

_may_ask(clients) if {
	is_array(clients)
	input.client.id in clients
}

# Undefined unless the input says all of it: who is not named might be the partner.
_parties := array.concat([input.subject.issuer], acting) if {
	is_string(input.subject.issuer)
	is_array(input.delegation.chain)
	every each in input.delegation.chain {
		is_string(each.issuer)
	}
	is_string(input.delegation.acting.issuer)
	acting := array.concat([input.delegation.acting.issuer], [each.issuer | some each in input.delegation.chain])
}

_targets := [target.name | some target in input.request.targets] if {
	is_array(input.request.targets)
	count(input.request.targets) > 0
	every target in input.request.targets {
		is_string(target.name)
	}
}
