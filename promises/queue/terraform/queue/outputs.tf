output "directory" {
  description = "Where the queue is."
  value       = terraform_data.quotas.output.directory
}

output "client" {
  description = "A program that sends, receives and counts."
  value       = "${terraform_data.quotas.output.directory}/client"
}

output "max_bytes" {
  description = "Most bytes it can ever hold."
  value       = terraform_data.quotas.output.max_messages * terraform_data.quotas.output.max_message_bytes
}
