# METADATA
# title: Token proxy
# description: |
#   Whether a client may get a token of an upstream here, with these scopes and parameters.
#   Only the upstream can tell who the client is, so this is about combinations and not about
#   persons: it has no time and no source. `allow` needs every positive rule; `deny` only explains.
# schemas:
#   - input: schema.proxy_input
package broker.proxy

# METADATA
# description: The decision, as schemas/proxy_decision.json describes it.
# entrypoint: true
decision := {"allow": true, "reasons": []} if allow

# `allow` has a default, so `not` can't be fooled by a missing member here.
decision := {"allow": false, "reasons": reasons} if not allow

# METADATA
# description: The upstream knows client and parameters, and nobody says no.
default allow := false

allow if {
	client_allowed
	parameters_allowed
	is_array(input.request.scopes)
	count(deny) == 0
}

# is_string, so that no client is any client only where there is one.
# METADATA
# description: The upstream names this client, or any.
client_allowed if {
	is_string(input.client.id)
	some client in input.upstream.clients
	client in {"*", input.client.id}
}

# METADATA
# description: The upstream names every parameter that was sent.
parameters_allowed if {
	every name, _ in input.request.parameters {
		name in input.upstream.parameters
	}
}

# METADATA
# description: The upstream's configuration does not name this client.
# custom:
#   code: proxy.client_not_allowed
deny contains rego.metadata.rule().custom.code if not client_allowed

# METADATA
# description: The upstream's configuration does not name one of the parameters.
# custom:
#   code: proxy.parameter_not_allowed
deny contains rego.metadata.rule().custom.code if not parameters_allowed

# Rules of one's own are packages directly below broker.proxy_rules, each with a set `deny`. They
# can only refuse.
deny contains code if {
	some denial in _own_denials
	is_set(denial)
	some code in denial
}

# `deny if …`, where `deny contains … if …` was meant, is no set and must not be lost for that.
deny contains "proxy.denied" if {
	some denial in _own_denials
	not is_set(denial)
	denial != false
}

_own_denials := [denial | denial := data.broker.proxy_rules[_].deny]

# METADATA
# description: Every reason. Never empty, for a refusal without a reason is malformed.
reasons := sort(deny) if count(deny) > 0

reasons := ["proxy.denied"] if count(deny) == 0
