# What a queue must be like before it is made or changed.
package queue

import rego.v1

most_bytes := 1073741824

# Taking a service down is never denied for what it is like.
making if input.operation.kind != "decommission"

deny contains msg if {
	making
	bytes := input.inputs.maxMessages * input.inputs.maxMessageBytes
	bytes > most_bytes
	msg := sprintf("the queue could grow to %v bytes, and %v are allowed: ask for fewer or smaller messages", [bytes, most_bytes])
}

deny contains msg if {
	making
	input.service.labels.environment == "production"
	not input.inputs.deadLetters
	msg := "a queue in production needs deadLetters, or messages that nobody can handle are lost"
}

warn contains msg if {
	input.inputs.retention == "30d"
	msg := "messages of a month ago are seldom wanted; is 7d enough?"
}
