# METADATA
# title: Functions
# description: A function acts for itself and presents its own token, never another's.
# schemas:
#   - input: schema.input
package broker.rules.functions

# METADATA
# description: Somebody acts for somebody else here, or nobody said that they do not.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not _acts_for_itself

# Whoever acts for itself puts nobody into the chain.
_acts_for_itself if input.delegation.chain == []
