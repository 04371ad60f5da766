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
	from in _held
}

_follows("identity") if input.subject.scopeless == true

# METADATA
# description: |
#   What each of these scopes follows from, for those that are not simply held.
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
	scope in _held
}

# A list and nothing else: the values of an object would count as held too.
_held := {scope | some scope in input.subject.scopes} if is_array(input.subject.scopes)
