variable "text" { type = string }

resource "terraform_data" "thing" {
  input = var.text
}

output "text" { value = terraform_data.thing.output }
