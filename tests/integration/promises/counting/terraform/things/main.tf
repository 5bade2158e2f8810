variable "made" { type = string }
variable "gate" { type = string }
variable "pause" { type = string }

locals {
  gate = var.gate == "" ? "open" : trimspace(file(var.gate))
  make = "echo begun $NAME >> \"$MADE\" && sleep \"$PAUSE\" && echo made $NAME >> \"$MADE\""
}

resource "terraform_data" "thing_0" {
  input = { name = "thing_0", made = var.made, gate = local.gate }

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = self.input.name, MADE = var.made, PAUSE = var.pause }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "echo gone $NAME >> \"$MADE\""
    environment = { NAME = self.output.name, MADE = self.output.made }
  }
}

resource "terraform_data" "thing_1" {
  input      = { name = "thing_1", made = var.made, gate = local.gate }
  depends_on = [terraform_data.thing_0]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = self.input.name, MADE = var.made, PAUSE = var.pause }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "echo gone $NAME >> \"$MADE\""
    environment = { NAME = self.output.name, MADE = self.output.made }
  }
}

resource "terraform_data" "thing_2" {
  input      = { name = "thing_2", made = var.made, gate = local.gate }
  depends_on = [terraform_data.thing_1]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = self.input.name, MADE = var.made, PAUSE = var.pause }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "echo gone $NAME >> \"$MADE\""
    environment = { NAME = self.output.name, MADE = self.output.made }
  }
}

resource "terraform_data" "thing_3" {
  input      = { name = "thing_3", made = var.made, gate = local.gate }
  depends_on = [terraform_data.thing_2]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = self.input.name, MADE = var.made, PAUSE = var.pause }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "echo gone $NAME >> \"$MADE\""
    environment = { NAME = self.output.name, MADE = self.output.made }
  }
}

resource "terraform_data" "thing_4" {
  input      = { name = "thing_4", made = var.made, gate = local.gate }
  depends_on = [terraform_data.thing_3]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = self.input.name, MADE = var.made, PAUSE = var.pause }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "echo gone $NAME >> \"$MADE\""
    environment = { NAME = self.output.name, MADE = self.output.made }
  }
}

resource "terraform_data" "thing_5" {
  input      = { name = "thing_5", made = var.made, gate = local.gate }
  depends_on = [terraform_data.thing_4]

  provisioner "local-exec" {
    command     = local.make
    environment = { NAME = self.input.name, MADE = var.made, PAUSE = var.pause }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "echo gone $NAME >> \"$MADE\""
    environment = { NAME = self.output.name, MADE = self.output.made }
  }
}

output "last" { value = terraform_data.thing_5.output.name }
