"""Terraform stacks without providers, as promises and as plain directories."""

from __future__ import annotations

from pathlib import Path

from benchmarks import processes

RESOURCES = 2

_VARIABLE = 'variable "name" {\n  type = string\n}\n'
_OUTPUT = 'output "id" {\n  value = terraform_data.part0.id\n}\n'
_INSTANT = 'resource "terraform_data" "part{n}" {{\n  input = "${{var.name}} {n}"\n}}\n'
_SLOW = (
    'resource "terraform_data" "part{n}" {{\n  input = "${{var.name}} {n}"\n'
    '  provisioner "local-exec" {{\n    command = "sleep 2"\n  }}\n}}\n'
)
_SPEC = """\
  outputs:
    id: {value: "${steps.stack.outputs.id}"}
  steps:
    - id: stack
      terraform: {module: terraform, variables: {name: "${service.name}"}}
"""


def module(*, slow: bool) -> str:
    """A module of a few independent resources: instant ones, or such that take two seconds each."""
    resources = "".join((_SLOW if slow else _INSTANT).format(n=number) for number in range(RESOURCES))
    return f"{_VARIABLE}{resources}{_OUTPUT}"


def promise(directory: Path, name: str, *, slow: bool) -> Path:
    """A promise of one such stack."""
    return processes.write_promise(directory / name, name, {"terraform/main.tf": module(slow=slow)}, _SPEC)
