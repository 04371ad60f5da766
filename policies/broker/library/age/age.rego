# METADATA
# title: Age
# description: How long ago the presented tokens were issued, which says more than that they still live.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.age

import data.broker.exchange.lifetime

# METADATA
# description: Each token that the parameters bound is young enough. No actor token is young enough.
within(name) if {
	bounds := data.broker.parameters.age[name]
	count(bounds) > 0
	every whose, bound in bounds {
		_young(whose, lifetime.seconds_of(bound))
	}
}

# is_number, because null sorts before every number: null <= 900 is true.
_young("subject", seconds) if {
	is_number(input.request.time)
	is_number(input.subject.issued_at)
	input.request.time - input.subject.issued_at <= seconds
}

_young("actor", seconds) if {
	is_number(input.request.time)
	is_number(input.actor.issued_at)
	input.request.time - input.actor.issued_at <= seconds
}

_young("actor", _) if input.actor == null
