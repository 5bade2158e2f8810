package main

import rego.v1

# Warns always, and denies where it is asked to: both messages repeat what the plan holds in plain.
warn contains msg if {
	some resource in input.plan.planned_values.root_module.resources
	resource.name == "holder"
	msg := sprintf("warned %s %s %s", [input.inputs.marker, resource.values.input.password, resource.values.input.token])
}

deny contains msg if {
	input.inputs.careless == "policy"
	some resource in input.plan.planned_values.root_module.resources
	resource.name == "holder"
	msg := sprintf("denied %s %s %s %s", [
		input.inputs.marker,
		input.inputs.password,
		resource.values.input.password,
		resource.values.input.token,
	])
}
