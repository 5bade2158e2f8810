variable "size" { type = string }
variable "seconds" { type = number }
variable "password" {
  type      = string
  sensitive = true
}

resource "terraform_data" "thing" {
  input            = { size = var.size }
  triggers_replace = [var.password]

  provisioner "local-exec" {
    command     = "exec sleep \"$SECONDS_TO_SLEEP\""
    environment = { SECONDS_TO_SLEEP = var.seconds }
  }
}

output "size" { value = terraform_data.thing.output.size }
output "password" {
  value     = var.password
  sensitive = true
}
