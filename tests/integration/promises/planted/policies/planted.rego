package main

import rego.v1

# Repeats all that it sees, in the message and beside it.
warn contains {"msg": sprintf("warned %s %v", [input.inputs.marker, input.inputs]), "plan": input.plan}

deny contains msg if {
	input.inputs.fails == "policy"
	msg := sprintf("denied %s %v", [input.inputs.marker, input.changes])
}
