# METADATA
# title: Tenant
# description: Keeps the subjects of one tenant from what belongs to another.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.tenant

# METADATA
# description: |
#   Every requested target serves the subject's tenant, and so does the client where the parameters
#   say whom clients work for. A target that they do not name serves nobody.
isolated(name) if {
	served := data.broker.parameters.tenant[name]
	tenant := input.subject.claims[served.claim]
	is_string(tenant)
	is_array(input.request.targets)
	count(input.request.targets) > 0
	every target in input.request.targets {
		_serves(served, target.name, tenant)
	}
	_works_for(object.get(served, "clients", null), tenant)
}

_serves(served, target, tenant) if {
	is_array(served.targets[target])
	tenant in served.targets[target]
}

_serves(served, target, _) if {
	is_array(served.shared)
	target in served.shared
}

_works_for(null, _)

_works_for(clients, tenant) if {
	is_array(clients[input.client.id])
	tenant in clients[input.client.id]
}
