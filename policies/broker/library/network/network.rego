# METADATA
# title: Network
# description: Where requests come from.
# schemas:
#   - input: schema.input
#   - data.broker.parameters: schema.parameters
package broker.library.network

# METADATA
# description: The request came from one of the networks of the zone of that name.
within(name) if {
	some zone in data.broker.parameters.network[name]
	net.cidr_contains(zone, input.request.source)
}
