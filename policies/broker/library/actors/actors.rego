# METADATA
# title: Actors
# description: |
#   What kind of party may act: who vouches for it, with or without a token of its own, and behind
#   how many others. Prior actors only ever make this stricter, RFC 8693 §4.1.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.actors

# METADATA
# description: The acting party and all before it are of these issuers, and all else asked for holds.
allowed(name) if {
	asked := data.broker.parameters.actors[name]
	is_array(asked.issuers)
	is_string(input.delegation.acting.issuer)
	input.delegation.acting.issuer in asked.issuers
	is_array(input.delegation.chain)
	every actor in input.delegation.chain {
		is_string(actor.issuer)
		actor.issuer in asked.issuers
	}
	every member, wanted in asked {
		_holds(member, wanted)
	}
}

_holds("issuers", _)

_holds("actor_token", wanted) if {
	is_boolean(wanted)
	input.delegation.actor_token == wanted
}

# Types are asked of a token, so they ask for one.
_holds("token_types", wanted) if {
	is_array(wanted)
	input.delegation.actor_token == true
	is_string(input.actor.token_type)
	input.actor.token_type in wanted
}

_holds("links", wanted) if {
	is_number(wanted)
	count(input.delegation.chain) <= wanted
}
