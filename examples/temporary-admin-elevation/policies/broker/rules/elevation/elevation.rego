# METADATA
# title: Elevation
# description: |
#   Administration is for minutes, for a change that has a ticket, by somebody who signed in again
#   just now. At night it is for who is on call and has an incident, and that tells the others.
# schemas:
#   - input: schema.input
package broker.rules.elevation

import data.broker.library.asks
import data.broker.library.break_glass
import data.broker.library.hours
import data.broker.library.step_up
import data.broker.library.ticket

# METADATA
# description: Neither is it a change in office hours, nor does who is on call break the glass.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.scope("cluster.admin")
	not _planned
	not break_glass.invoked("on_call")
}

# METADATA
# description: Whoever breaks the glass is seen to.
oblige contains "alert" if {
	asks.scope("cluster.admin")
	not _planned
	break_glass.invoked("on_call")
}

_planned if {
	ticket.given("change")
	step_up.met("fresh")
	hours.within("office")
	"admins" in input.subject.claims.groups
}
