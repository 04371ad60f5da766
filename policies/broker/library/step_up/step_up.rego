# METADATA
# title: Step-up
# description: |
#   How the subject signed in: RFC 9068 §2.2.1 says that acr, amr and auth_time may stand in an
#   access token. Only claims that the issuer's policy_claims name are seen here.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.step_up

import data.broker.exchange.lifetime

# METADATA
# description: Everything that the parameters ask for is met.
met(name) if {
	asked := data.broker.parameters.step_up[name]
	count(asked) > 0
	every member, wanted in asked {
		_meets(member, wanted)
	}
}

_meets("acr", wanted) if {
	is_array(wanted)
	is_string(input.subject.claims.acr)
	input.subject.claims.acr in wanted
}

_meets("amr", wanted) if {
	is_array(wanted)
	count(wanted) > 0
	is_array(input.subject.claims.amr)
	every method in wanted {
		method in input.subject.claims.amr
	}
}

# is_number, because null sorts before every number: null <= 900 is true.
_meets("max_age", wanted) if {
	is_number(input.request.time)
	is_number(input.subject.claims.auth_time)
	input.request.time - input.subject.claims.auth_time <= lifetime.seconds_of(wanted)
}
