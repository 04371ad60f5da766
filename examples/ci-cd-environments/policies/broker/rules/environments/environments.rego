# METADATA
# title: Environments
# description: Which job of the CI may deploy where, by what the CI itself says of it.
# schemas:
#   - input: schema.input
package broker.rules.environments

import data.broker.library.asks
import data.broker.library.hours

# METADATA
# description: Only jobs of this repository deploy, and a fork of it has another name.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not _ours

# METADATA
# description: Staging takes any branch, of jobs that the CI runs in its environment staging.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.target("staging")
	not _staged
}

# METADATA
# description: Production takes the protected main branch, in the environment production.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.target("production")
	not _released
}

# METADATA
# description: Nobody deploys to production when nobody is there to look.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.target("production")
	not hours.within("deploy")
}

_ours if input.subject.claims.repository == "shop/web"

_staged if input.subject.claims.environment == "staging"

_released if {
	input.subject.claims.environment == "production"
	input.subject.claims.ref == "refs/heads/main"
	input.subject.claims.ref_protected == "true"
}
