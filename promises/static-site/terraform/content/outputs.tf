output "directory" {
  description = "What a web server should serve."
  value       = "${terraform_data.pages.output.directory}/public"
}

output "url" {
  description = "The front page."
  value       = "file://${terraform_data.pages.output.directory}/public/index.html"
}

output "slugs" {
  description = "Names of the further pages."
  value       = [for page in terraform_data.pages.output.pages : page.slug]
}

output "page_count" {
  description = "How many pages there are, the front page included."
  value       = 1 + length(terraform_data.pages.output.pages)
}
