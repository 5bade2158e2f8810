variable "made" { type = string }
variable "value" { type = string }
variable "pause" { type = string }
variable "until" {
  type    = string
  default = ""
}
variable "token" {
  type      = string
  sensitive = true
}

locals {
  # Whoever holds the lock is the only one at work; finding it held is what must never happen.
  make = <<-SH
    flock -n "$MADE.lock" sh -c 'echo begun $NAME >> "$MADE"; sleep $PAUSE; until [ -z "$UNTIL" ] || [ -e "$UNTIL" ]; do sleep 0.1; done; echo made $NAME >> "$MADE"' ||
    { echo $NAME >> "$MADE.violation"; exit 1; }
  SH
}

resource "terraform_data" "thing_0" {
  input = { value = var.value, token = var.token }

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = "thing_0", MADE = var.made, PAUSE = var.pause, UNTIL = var.until }
  }
}

resource "terraform_data" "thing_1" {
  input      = { value = var.value }
  depends_on = [terraform_data.thing_0]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = "thing_1", MADE = var.made, PAUSE = var.pause, UNTIL = var.until }
  }
}

resource "terraform_data" "thing_2" {
  input      = { value = var.value }
  depends_on = [terraform_data.thing_1]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = "thing_2", MADE = var.made, PAUSE = var.pause, UNTIL = var.until }
  }
}

output "value" { value = terraform_data.thing_2.output.value }
