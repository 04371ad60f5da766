# METADATA
# title: Break-glass
# description: |
#   A way past another rule of one's own for who is on duty and says what for. It is no way past the
#   grants: a rule can only refuse. Whoever lets it pass should oblige the broker to raise an alert.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.break_glass

import data.broker.library.step_up
import data.broker.library.ticket

# METADATA
# description: The subject is on duty, names a ticket, and signed in as strongly as is asked.
invoked(name) if {
	asked := data.broker.parameters.break_glass[name]
	_is_member(asked)
	ticket.given(asked.ticket)
	_stepped_up(object.get(asked, "step_up", null))
}

_is_member(asked) if {
	is_array(asked.members)
	groups := input.subject.claims[asked.claim]
	is_array(groups)
	some group in groups
	is_string(group)
	group in asked.members
}

_stepped_up(null)

_stepped_up(name) if step_up.met(name)
