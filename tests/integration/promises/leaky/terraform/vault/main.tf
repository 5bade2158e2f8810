variable "marker" { type = string }
variable "salt" { type = string }
variable "careless" { type = string }

# On purpose not declared sensitive: the platform knows that it is.
variable "password" { type = string }

variable "token" {
  type      = string
  sensitive = true
}

locals {
  made = substr(sha256(var.salt), 0, 24)
  pin  = parseint(substr(sha256(var.salt), 30, 12), 16)
}

resource "terraform_data" "holder" {
  input = { marker = var.marker, password = var.password, token = var.token }

  lifecycle {
    precondition {
      condition     = var.careless != "diagnostic"
      error_message = "diagnosed ${var.marker}: ${var.password} is not good enough"
    }
  }
}

# Secrets that nobody but Terraform knows before they are made.
resource "terraform_data" "made" {
  input = sensitive({ text = "made-${local.made}", pin = local.pin })
}

resource "terraform_data" "talker" {
  input = var.marker

  provisioner "local-exec" {
    command = "printf '%s\\n' \"said $MARKER $PASSWORD $TOKEN $MADE\"; printf '%s\\n' \"complained $MARKER $PASSWORD $TOKEN $MADE\" >&2; test $CARELESS != exec"
    environment = {
      MARKER   = var.marker
      CARELESS = var.careless
      PASSWORD = var.password
      TOKEN    = nonsensitive(var.token)
      MADE     = nonsensitive(terraform_data.made.output.text)
    }
  }
}

output "marker" { value = var.marker }

output "made" {
  value     = terraform_data.made.output.text
  sensitive = true
}

output "pin" {
  value     = terraform_data.made.output.pin
  sensitive = true
}
