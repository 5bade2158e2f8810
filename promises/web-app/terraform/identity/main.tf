variable "team" {
  type = string
}

variable "name" {
  type = string
}

variable "api_key" {
  type      = string
  default   = null
  sensitive = true
}

# Random, and kept: what is made once stays until the service goes.
resource "terraform_data" "identity" {
  input = { client_id = "${var.team}-${var.name}-${substr(sha256(uuid()), 0, 8)}", key = sensitive(sha256(uuid())) }

  lifecycle {
    ignore_changes = [input]
  }
}

output "client_id" {
  value = nonsensitive(terraform_data.identity.output.client_id)
}

output "api_key" {
  value     = var.api_key != null ? var.api_key : terraform_data.identity.output.key
  sensitive = true
}
