# Who may be let in, and what a plan must show before anything is changed.
package access

import rego.v1

deny contains msg if {
	input.operation.kind != "decommission"
	some name, key in input.inputs.people
	startswith(key, "ssh-dss ")
	msg := sprintf("the key of %s is a DSA key, which no host should take", [name])
}

deny contains "check mode cannot say what this would do to the host" if input.plan.partial

approval contains {"msg": "root of a production host: a second person looks at it", "roles": ["sre"], "count": 1} if {
	input.operation.kind != "decommission"
	input.inputs.login == "root"
	input.service.labels.environment == "production"
}
