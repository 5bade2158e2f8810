# Built-in Terraform only. Values reach the script through its environment and never through a shell.

terraform {
  required_version = ">= 1.4"
}

variable "directory" {
  description = "Where the pages are."
  type        = string
}

variable "slugs" {
  description = "Names of the pages beside the front page."
  type        = list(string)
  default     = []
}

variable "address" {
  description = "Where the site is served from, without a slash at the end."
  type        = string
}

resource "terraform_data" "sitemap" {
  input = {
    directory = var.directory
    addresses = [for slug in concat(["index"], var.slugs) : "${var.address}/${slug}.html"]
    sitemap   = "${var.address}/sitemap.xml"
  }
  triggers_replace = [var.directory, var.address, join(",", var.slugs)]

  provisioner "local-exec" {
    interpreter = ["python3", "-I"]
    command     = "${path.module}/sitemap.py"
    environment = { ACTION = "write", SITEMAP = jsonencode(self.input) }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "-I"]
    command     = "${path.module}/sitemap.py"
    environment = { ACTION = "remove", SITEMAP = jsonencode(self.output) }
  }
}

output "path" {
  description = "The site map."
  value       = "${terraform_data.sitemap.output.directory}/sitemap.xml"
}
