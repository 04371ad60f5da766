# METADATA
# title: Grants
# description: Which rows of the grants data this exchange is judged by.
# schemas:
#   - input: schema.input
#   - data.broker.grants: schema.grants
package broker.exchange.grants

# METADATA
# description: |
#   Each requested target with the client's grant for it, in the order of the request. Undefined
#   unless there is a grant for every one of them, so nothing is judged by a part of the request.
rows := _found if complete

# METADATA
# description: The client has a grant for every requested target.
complete if {
	# An object would be counted and walked like a list.
	is_array(input.request.targets)
	count(_found) > 0
	count(_found) == count(input.request.targets)
}

# is_object, because a grant that says null or false is none.
_found := [{"target": target, "grant": grant} |
	some target in input.request.targets
	grant := data.broker.grants[input.client.id][target.name]
	is_object(grant)
]

# METADATA
# description: There is no grant of this client for one of the targets.
# custom:
#   code: policy.target_not_granted
deny contains rego.metadata.rule().custom.code if not complete
