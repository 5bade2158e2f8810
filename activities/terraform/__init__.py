"""The adapter to Terraform and OpenTofu.

The package is loaded by entry point, also by commands that run no Terraform: importing it costs next to nothing,
and what is heavy (the HCL parser) is imported where it is used.
"""

from bondstone.activities.terraform.executor import TerraformExecutor

__all__ = ["TerraformExecutor"]
