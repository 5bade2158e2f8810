# What a site must be like before it is made or changed.
package site

import rego.v1

# Taking a service down is never denied for what it is like.
making if input.operation.kind != "decommission"

deny contains msg if {
	making
	input.inputs.sitemap
	input.service.labels.environment == "production"
	not startswith(input.inputs.address, "https://")
	msg := sprintf("a public site map must name https addresses, and %q does not begin with https", [input.inputs.address])
}

deny contains msg if {
	making
	some page in input.inputs.pages
	page.slug in {"index", "404"}
	msg := sprintf("the page %q is the platform's own: choose another name", [page.slug])
}

warn contains msg if {
	input.inputs.theme != "high-contrast"
	input.service.labels.audience == "public"
	msg := "public sites are easier to read for everybody with the theme high-contrast"
}
