package main

import rego.v1

deployments contains manifest if {
	some manifest in input.plan.manifests
	manifest.kind == "Deployment"
}

deny contains msg if {
	some deployment in deployments
	some container in deployment.spec.template.spec.containers
	endswith(container.image, ":latest")
	msg := sprintf("%s runs %s, which is another image tomorrow: name a version", [deployment.metadata.name, container.image])
}

warn contains msg if {
	input.service.labels.environment == "production"
	some deployment in deployments
	deployment.spec.replicas < 2
	msg := sprintf("%s has one pod: it is away whenever its node is", [deployment.metadata.name])
}
