"""Terraform stacks without providers, as promises and as plain directories."""

from __future__ import annotations

from pathlib import Path

from benchmarks import processes

RESOURCES = 2

_VARIABLE = 'variable "name" {\n  type = string\n}\n'
_OUTPUT = 'output "id" {\n  value = terraform_data.part0.id\n}\n'
_INSTANT = 'resource "terraform_data" "{kind}{n}" {{\n  input = "${{var.name}} {n}"\n}}\n'
_SLOW = (
    'resource "terraform_data" "{kind}{n}" {{\n  input = "${{var.name}} {n}"\n'
    '  provisioner "local-exec" {{\n    command = "sleep 2"\n  }}\n}}\n'
)
_SPEC = """\
  outputs:
    id: {value: "${steps.stack.outputs.id}"}
  steps:
    - id: stack
      terraform: {module: terraform, variables: {name: "${service.name}"}}
"""


def module(*, slow: bool, patches: int = 0) -> str:
    """A module of a few independent resources: instant ones, or such that take two seconds each.

    Args:
        slow: Whether they take two seconds.
        patches: How many resources patches have added since, of two seconds each.
    """
    resources = "".join((_SLOW if slow else _INSTANT).format(kind="part", n=number) for number in range(RESOURCES))
    added = "".join(_SLOW.format(kind="patch", n=number) for number in range(patches))
    return f"{_VARIABLE}{resources}{added}{_OUTPUT}"


def promise(directory: Path, name: str, *, slow: bool, patches: int = 0) -> Path:
    """A promise of one such stack; each patch is the next patch version."""
    files = {"terraform/main.tf": module(slow=slow, patches=patches)}
    version = f"1.0.{patches}"
    return processes.write_promise(directory / f"{name}-{version}", name, files, _SPEC, version=version)
