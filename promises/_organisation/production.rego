# Nobody loses what runs in production by accident.
package production

import rego.v1

in_production if input.service.labels.environment == "production"

deny contains msg if {
	in_production
	input.operation.kind != "decommission"
	some change in input.changes
	change.action == "delete"
	msg := sprintf("%s would be deleted in production by an operation that is no decommission", [change.address])
}

deny contains msg if {
	in_production
	input.operation.kind != "decommission"
	startswith(input.service.name, "test-")
	msg := "services whose name begins with `test-` do not belong in production"
}
