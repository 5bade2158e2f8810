# Built-in Terraform only. Values reach the script through its environment and never through a shell.

terraform {
  required_version = ">= 1.4"
}

locals {
  directory = "${pathexpand(var.services_dir)}/${var.team}/${var.name}"
  seconds   = { "1h" = 3600, "1d" = 86400, "7d" = 604800, "30d" = 2592000 }[var.retention]
}

resource "terraform_data" "queue" {
  input            = { directory = local.directory, team = var.team, name = var.name }
  triggers_replace = [local.directory]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/queue.py"
    environment = { ACTION = "create", QUEUE = jsonencode(self.input) }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "-I"]
    command     = "${path.module}/queue.py"
    environment = { ACTION = "remove", QUEUE = jsonencode(self.output) }
  }
}

# Written anew when a quota changes; the messages stay.
resource "terraform_data" "quotas" {
  input = {
    directory         = terraform_data.queue.input.directory
    max_messages      = var.max_messages
    max_message_bytes = var.max_message_bytes
    retention_seconds = local.seconds
    max_deliveries    = var.max_deliveries
  }
  triggers_replace = [
    var.max_messages, var.max_message_bytes, local.seconds, var.max_deliveries, terraform_data.queue.id,
    filesha256("${path.module}/client.py"),
  ]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/queue.py"
    environment = { ACTION = "configure", QUEUE = jsonencode(self.input) }
  }
}
