# What a bucket must be like, and what a plan must not do to one.
package bucket

import rego.v1

making if input.operation.kind != "decommission"

production if input.service.labels.environment == "production"

deny contains "a bucket in production keeps what is overwritten: versioning stays on" if {
	making
	production
	input.inputs.versioning == false
}

deny contains "a bucket cannot move to another region: request a new one, and copy" if {
	some change in input.changes
	change.action == "update"
	change.before.spec.region != change.after.spec.region
}

approval contains {"msg": "a bucket of production goes with all that is in it", "roles": ["storage"], "count": 1} if {
	input.operation.kind == "decommission"
	production
}
