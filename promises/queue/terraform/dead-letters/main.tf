# Built-in Terraform only. Values reach the script through its environment and never through a shell.

terraform {
  required_version = ">= 1.4"
}

variable "directory" {
  description = "The queue's directory."
  type        = string
}

resource "terraform_data" "directory" {
  input            = { directory = "${var.directory}/dead-letters" }
  triggers_replace = [var.directory]

  provisioner "local-exec" {
    interpreter = ["python3", "-I", "-c"]
    command     = "import os; os.makedirs(os.environ['DIRECTORY'], mode=0o700, exist_ok=True)"
    environment = { DIRECTORY = self.input.directory }
  }

  provisioner "local-exec" {
    when        = destroy
    interpreter = ["python3", "-I", "-c"]
    command     = "import os, shutil; shutil.rmtree(os.environ['DIRECTORY'], ignore_errors=True)"
    environment = { DIRECTORY = self.output.directory }
  }
}

output "directory" {
  description = "Where dead letters are kept."
  value       = terraform_data.directory.output.directory
}
