# Built-in Terraform only. Values reach the script through its environment and never through a shell.

terraform {
  required_version = ">= 1.4"
}

locals {
  directory = "${pathexpand(var.services_dir)}/${var.team}/${var.name}"
  site = {
    title          = var.title
    intro          = var.intro
    theme          = var.theme
    accent         = var.accent
    pages          = var.pages
    not_found_page = var.not_found_page
  }
}

resource "terraform_data" "directory" {
  input            = { directory = local.directory, team = var.team, name = var.name }
  triggers_replace = [local.directory]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/site.py"
    environment = { ACTION = "create", SITE = jsonencode(self.input) }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "-I"]
    command     = "${path.module}/site.py"
    environment = { ACTION = "remove", SITE = jsonencode(self.output) }
  }
}

# Written anew whenever what stands on the pages changes.
resource "terraform_data" "pages" {
  input            = merge(local.site, { directory = terraform_data.directory.input.directory })
  triggers_replace = [sha256(jsonencode(local.site)), terraform_data.directory.id]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/site.py"
    environment = { ACTION = "write", SITE = jsonencode(self.input) }
  }
}
