# Written for conftest; Terraform's plan is where conftest puts it.
package main

import rego.v1

max_resources := 200

deny contains {"msg": msg, "resources": count(input.resource_changes)} if {
	count(input.resource_changes) > max_resources
	msg := sprintf("one step may touch %d resources, and this plan touches %d", [max_resources, count(input.resource_changes)])
}
