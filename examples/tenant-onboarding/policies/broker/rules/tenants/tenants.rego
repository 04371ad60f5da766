# METADATA
# title: Tenants
# description: A tenant is set up once, for an order, where it was placed, and never sees another.
# schemas:
#   - input: schema.input
package broker.rules.tenants

import data.broker.library.asks
import data.broker.library.tenant
import data.broker.library.ticket

# METADATA
# description: The target does not serve the subject's tenant, or the client does not.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not tenant.isolated("placed")

# METADATA
# description: Setting up is for an order that is open, by who administers the tenant.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if {
	asks.client("onboarding")
	not _ordered
}

_ordered if {
	ticket.given("order")
	"tenant-admin" in input.subject.claims.groups
}
