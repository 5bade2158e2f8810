output "path" {
  description = "The database file."
  value       = "${terraform_data.database.output.directory}/database.sqlite3"
}

output "dsn" {
  description = "URL of the database, as SQLAlchemy takes it."
  value       = "sqlite:///${terraform_data.database.output.directory}/database.sqlite3"
}

output "max_bytes" {
  description = "Inserts are refused beyond this size."
  value       = terraform_data.settings.output.max_bytes
}

output "admin_name" {
  description = "Name of the first account."
  value       = terraform_data.account.output.account
}

output "admin_password" {
  description = "Password of the first account."
  value       = local.password
  sensitive   = true
}
