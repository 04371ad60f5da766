# METADATA
# title: Ticket
# description: |
#   The ticket that a request is made for. In the parameter purpose a caller says it, and the record
#   holds the caller to it; in a claim the subject's issuer says it.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.ticket

# METADATA
# description: A ticket of one of the projects is named, and is open where the parameters say which are.
given(name) if {
	asked := data.broker.parameters.ticket[name]
	named := _named(object.get(asked, "claim", null))
	is_string(named)
	_is_of(asked.projects, named)
	_is_open(object.get(asked, "open", null), named)
}

_named(null) := input.request.purpose

_named(claim) := input.subject.claims[claim] if claim != null

_is_of(projects, named) if {
	is_array(projects)
	some project in projects
	is_string(project)
	project != ""
	startswith(named, concat("-", [project, ""]))
	number := substring(named, count(project) + 1, -1)
	number != ""
	count(number) <= 10
	trim(number, "0123456789") == ""
}

_is_open(null, _)

_is_open(open, named) if {
	is_array(open)
	named in open
}
