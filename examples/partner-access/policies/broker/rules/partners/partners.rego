# METADATA
# title: Partners
# description: Nobody of a partner gets more than was agreed, whichever grant would give it.
# schemas:
#   - input: schema.input
package broker.rules.partners

import data.broker.library.partner

# METADATA
# description: It is not within what acme may have, and somebody of acme is part of it.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not partner.within("acme")
