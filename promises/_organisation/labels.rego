# Every service says what it is for, whatever promise it comes from.
package labels

import rego.v1

environments := {"development", "staging", "production"}

making if input.operation.kind != "decommission"

deny contains msg if {
	making
	not input.service.labels.environment
	msg := sprintf("a service needs the label `environment`: one of %s", [concat(", ", sort(environments))])
}

deny contains msg if {
	making
	environment := input.service.labels.environment
	not environment in environments
	msg := sprintf("%q is no environment of ours: use one of %s", [environment, concat(", ", sort(environments))])
}

warn contains msg if {
	making
	input.service.labels.environment == "production"
	not input.service.labels.tier
	msg := "services in production should carry the label `tier` (gold, silver or bronze), for whoever is on call"
}
