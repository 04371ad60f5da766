# METADATA
# title: Nightly
# description: A pipeline runs at night, as a workload of the cluster that shows its own token.
# schemas:
#   - input: schema.input
package broker.rules.nightly

import data.broker.library.actors
import data.broker.library.age
import data.broker.library.hours

# METADATA
# description: Nobody runs a pipeline by day, where it would slow down those who work.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not hours.within("night")

# METADATA
# description: The owner is not there to see who acts, so whoever acts has to prove it.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not actors.allowed("workload")

# METADATA
# description: The workload's token is of this run.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if not age.within("run")
