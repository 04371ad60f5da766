# METADATA
# title: Derivation
# description: Scopes that the subject does not hold and that follow from what it does.
# schemas:
#   - input: schema.input
package broker.exchange.derivation

import data.broker.exchange.grants

# METADATA
# description: The first thing in the grant's list that the scope follows from, for this subject.
source(grant, scope) := [from | some from in grant.derives[scope]; _follows(from)][0]

# `identity` is a word of the grants, never a scope: a token that holds a scope of that name
# derives nothing from it.
_follows(from) if {
	from != "identity"
	from in input.subject.scopes
}

_follows("identity") if input.subject.scopeless == true

# METADATA
# description: For each of these scopes that is not simply held: what it follows from.
needed(scopes) := {{"scope": scope, "from": from} |
	some scope in scopes
	some row in grants.rows
	not held(row.grant, scope)
	from := source(row.grant, scope)
}

# METADATA
# description: The grant lists the scope and the subject holds it.
held(grant, scope) if {
	scope in grant.scopes
	scope in input.subject.scopes
}
