# METADATA
# title: Token exchange
# description: |
#   One document says whether an exchange is allowed and in what bounds. `allow` needs every
#   positive rule; `deny` only explains. So a rule that is undefined refuses twice.
# schemas:
#   - input: schema.input
package broker.exchange

import data.broker.exchange.claims
import data.broker.exchange.depth
import data.broker.exchange.derivation
import data.broker.exchange.grants
import data.broker.exchange.issuers
import data.broker.exchange.lifetime
import data.broker.exchange.loop
import data.broker.exchange.mode
import data.broker.exchange.purpose
import data.broker.exchange.reuse
import data.broker.exchange.scopes

# METADATA
# description: The decision, as schemas/decision.json describes it.
# entrypoint: true
decision := object.union(
	{
		"allow": true,
		"reasons": [],
		"targets": [row.target.name | some row in grants.rows],
		"scopes": scopes.granted,
		"derived": derivation.needed(scopes.granted),
		"lifetime": lifetime.seconds,
		"mode": mode.agreed,
		"max_depth": depth.bound,
		"reentry": loop.reentry,
		"purpose": purpose.accepted,
		"claims": claims.released,
		"obligations": obligations,
	},
	_reuse,
) if {
	allow
}

# `allow` has a default, so `not` can't be fooled by a missing member here.
decision := {"allow": false, "reasons": reasons} if not allow

# METADATA
# description: Every concern says yes in so many words, and nobody says no.
default allow := false

allow if {
	grants.complete
	issuers.allowed
	purpose.allowed
	mode.allowed
	depth.within
	loop.absent
	lifetime.seconds
	claims.released
	count(scopes.granted) > 0
	count(deny) == 0
}

# METADATA
# description: Why not, of every concern and of every rule of one's own.
deny contains code if some code in grants.deny

deny contains code if some code in issuers.deny

deny contains code if some code in purpose.deny

deny contains code if some code in mode.deny

deny contains code if some code in depth.deny

deny contains code if some code in loop.deny

deny contains code if some code in scopes.deny

# Rules of one's own are packages directly below broker.rules, each with a set `deny`, a set
# `oblige`, or both. They can only refuse, and oblige the broker to something besides.
deny contains code if {
	some denial in _own_denials
	is_set(denial)
	some code in denial
}

# `deny if …`, where `deny contains … if …` was meant, is no set and must not be lost for that.
deny contains "policy.denied" if {
	some denial in _own_denials
	not is_set(denial)
	denial != false
}

# So with `oblige if …`: what the broker should have done, it would not do.
deny contains "policy.denied" if {
	some obligation in _own_obligations
	not is_set(obligation)
	obligation != false
}

_own_denials := [denial | denial := data.broker.rules[_].deny]

_own_obligations := [obligation | obligation := data.broker.rules[_].oblige]

# METADATA
# description: |
#   What the broker has to do besides. It knows `alert`, and refuses what it does not know.
obligations := {name |
	some obligation in _own_obligations
	is_set(obligation)
	some name in obligation
}

# Whatever obliges the broker does so each time, so there is no token that was made before.
_reuse := reuse.said if count(obligations) == 0

_reuse := {} if count(obligations) > 0

# METADATA
# description: |
#   Every reason, the one that helps the caller most first: what is wrong with the target is said
#   before what is wrong with the scope. Never empty, for a refusal without a reason is malformed.
reasons := array.concat(ranked, sort(deny - _ranks)) if count(deny) > 0

reasons := ["policy.denied"] if count(deny) == 0

# METADATA
# description: The stock reasons, in the order in which they help.
ranked := [code | some code in _precedence; code in deny]

_ranks := {code | some code in _precedence}

_precedence := [
	"policy.target_not_granted",
	"policy.issuer_not_allowed",
	"policy.mode_conflict",
	"policy.impersonation_with_actor_token",
	"policy.purpose_missing",
	"policy.purpose_not_allowed",
	"delegation.depth_exceeded",
	"delegation.loop",
	"scope.missing",
	"policy.scope_unknown",
	"policy.scope_not_granted",
	"policy.scope_not_held",
	"policy.scope_nothing_left",
]
