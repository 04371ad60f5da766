# METADATA
# title: Sandbox
# description: Data is looked at in the sandbox, by analysts, and nobody's name goes along.
# schemas:
#   - input: schema.input
package broker.rules.sandbox

import data.broker.exchange.scopes
import data.broker.library.network

# METADATA
# description: The request came from outside, or nobody said from where.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not network.within("lab")

# METADATA
# description: The subject is no analyst.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not _analyst

# METADATA
# description: What is about persons is not for notebooks, whatever a grant may come to say.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	some scope in scopes.granted
	startswith(scope, "persons.")
}

_analyst if "analysts" in input.subject.claims.groups
