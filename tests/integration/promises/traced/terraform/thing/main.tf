variable "password" {
  type      = string
  sensitive = true
}
variable "exit" { type = number }
variable "size" { type = number }
variable "pause" { type = number }

resource "terraform_data" "thing" {
  input            = { password = var.password, size = var.size }
  triggers_replace = var.size

  provisioner "local-exec" {
    command     = "echo \"traceparent is $TRACEPARENT\"; echo \"refused $PASSWORD\" >&2 && sleep $PAUSE; exit $EXIT"
    environment = { PASSWORD = nonsensitive(var.password), EXIT = var.exit, PAUSE = var.pause }
  }
}

output "size" { value = var.size }
