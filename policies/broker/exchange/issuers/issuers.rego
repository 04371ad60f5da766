# METADATA
# title: Issuers
# description: Whose subjects a grant is for, by the issuer of their origin.
# schemas:
#   - input: schema.input
package broker.exchange.issuers

import data.broker.exchange.grants

# is_string, so that a subject without issuer is nobody's, also where any issuer will do.
# METADATA
# description: Every grant is for subjects of this origin.
allowed if {
	is_string(input.subject.issuer)
	every row in grants.rows {
		some issuer in object.get(row.grant, "issuers", ["*"])
		issuer in {"*", input.subject.issuer}
	}
}

# METADATA
# description: A grant is not for subjects of that issuer.
# custom:
#   code: policy.issuer_not_allowed
deny contains rego.metadata.rule().custom.code if {
	grants.complete
	not allowed
}
