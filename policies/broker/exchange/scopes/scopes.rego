# METADATA
# title: Scopes
# description: |
#   What of the requested scopes is granted. A token for several targets carries every scope to
#   every target, so a scope counts only if all of them know it and all their grants give it.
# schemas:
#   - input: schema.input
package broker.exchange.scopes

import data.broker.exchange.derivation
import data.broker.exchange.grants

# METADATA
# description: What is put into the token. Undefined if something has to be refused.
granted := _grantable if _narrows

granted := _grantable if _grantable == _asked

# METADATA
# description: What was requested, or the defaults where nothing was.
_asked := {scope | some scope in input.request.scopes} if {
	is_array(input.request.scopes)
	count(input.request.scopes) > 0
}

_asked := {scope |
	some row in grants.rows
	some scope in row.grant.default_scopes
	every other in grants.rows {
		scope in other.grant.default_scopes
	}
} if {
	input.request.scopes == []
}

_grantable := {scope |
	some scope in _asked
	_known(scope)
	_reachable(scope)
}

_narrows if {
	every row in grants.rows {
		row.grant.excess == "narrow"
	}
}

_known(scope) if {
	every row in grants.rows {
		is_array(row.target.scopes)
		scope in row.target.scopes
	}
}

_offered(scope) if {
	every row in grants.rows {
		_offers(row.grant, scope)
	}
}

_offers(grant, scope) if scope in grant.scopes

_offers(grant, scope) if grant.derives[scope]

_reachable(scope) if {
	every row in grants.rows {
		_reaches(row.grant, scope)
	}
}

_reaches(grant, scope) if derivation.held(grant, scope)

_reaches(grant, scope) if derivation.source(grant, scope)

# METADATA
# description: No scope was requested and the grants have no default.
# custom:
#   code: scope.missing
deny contains rego.metadata.rule().custom.code if {
	grants.complete
	not _wanted
}

_wanted if count(_asked) > 0

_refused contains scope if {
	grants.complete
	not _narrows
	some scope in _asked
}

# METADATA
# description: A target does not know a requested scope.
# custom:
#   code: policy.scope_unknown
deny contains rego.metadata.rule().custom.code if {
	some scope in _refused
	not _known(scope)
}

# METADATA
# description: A grant neither lists a requested scope nor derives it.
# custom:
#   code: policy.scope_not_granted
deny contains rego.metadata.rule().custom.code if {
	some scope in _refused
	_known(scope)
	not _offered(scope)
}

# METADATA
# description: The subject does not hold a requested scope, nor what it could follow from.
# custom:
#   code: policy.scope_not_held
deny contains rego.metadata.rule().custom.code if {
	some scope in _refused
	_known(scope)
	_offered(scope)
	not _reachable(scope)
}

# METADATA
# description: Narrowing left nothing of what was requested.
# custom:
#   code: policy.scope_nothing_left
deny contains rego.metadata.rule().custom.code if {
	_narrows
	_wanted
	count(_grantable) == 0
}
