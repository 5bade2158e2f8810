# Built-in Terraform only. Values reach the script through its environment and never through a shell.

terraform {
  required_version = ">= 1.4"
}

locals {
  directory = "${pathexpand(var.services_dir)}/${var.team}/${var.name}"
  max_bytes = { small = 16, medium = 128, large = 1024 }[var.size] * 1024 * 1024
  password  = var.admin_password != null ? var.admin_password : terraform_data.random_password.output
}

# Made once: later plans ignore that uuid() gives another value each time.
resource "terraform_data" "random_password" {
  input = sensitive(substr(sha256(uuid()), 0, 32))

  lifecycle {
    ignore_changes = [input]
  }
}

# The file. Only its place replaces it: a change of size or contact must not cost anybody their data.
resource "terraform_data" "database" {
  input            = { directory = local.directory, team = var.team, name = var.name }
  triggers_replace = [local.directory]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/database.py"
    environment = { ACTION = "create", DATABASE = jsonencode(self.input) }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "-I"]
    command     = "${path.module}/database.py"
    environment = { ACTION = "remove", DATABASE = jsonencode(self.output) }
  }
}

# What may change. It is applied anew when it does; the script brings any database to it.
resource "terraform_data" "settings" {
  input = {
    directory = terraform_data.database.input.directory
    team      = var.team
    name      = var.name
    max_bytes = local.max_bytes
    starter   = var.starter
    journal   = var.journal
    contact   = var.contact
    size      = var.size
  }
  triggers_replace = [local.max_bytes, var.starter, var.journal, var.contact, terraform_data.database.id]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/database.py"
    environment = { ACTION = "configure", DATABASE = jsonencode(self.input) }
  }
}

resource "terraform_data" "account" {
  input            = { directory = terraform_data.settings.input.directory, account = "admin" }
  triggers_replace = [terraform_data.settings.id, sha256(local.password)]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/database.py"
    environment = {
      ACTION   = "account"
      DATABASE = jsonencode(self.input)
      PASSWORD = local.password
    }
  }
}
