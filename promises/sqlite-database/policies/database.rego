# What a SQLite database must be like before it is made or changed.
package database

import rego.v1

# Taking a service down is never denied for what it is like.
making if input.operation.kind != "decommission"

production if {
	making
	input.service.labels.environment == "production"
}

deny contains msg if {
	production
	input.inputs.size == "small"
	msg := "a database in production cannot be small: ask for medium or large"
}

deny contains msg if {
	production
	input.inputs.journal == "delete"
	msg := "a database in production needs the journal `wal`, or readers wait for writers"
}

warn contains msg if {
	input.inputs.starter == "none"
	input.operation.kind == "provision"
	msg := "there will be no tables but the platform's own, and your own tables have no size limit"
}

warn contains msg if {
	making
	some change in input.changes
	change.address == "terraform_data.database"
	change.action in {"delete", "replace"}
	msg := "the database file would be made anew, and what is in it would be lost"
}
