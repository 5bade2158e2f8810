"""Terraform stacks, as promises and as plain directories."""

from __future__ import annotations

from pathlib import Path

from benchmarks.stack_providers import StackProvider
from harness import processes

_VARIABLE = 'variable "name" {\n  type = string\n}\n'
_OUTPUT = 'output "id" {{\n  value = {value}\n}}\n'
_SLOW = (
    'resource "terraform_data" "{kind}{n}" {{\n  input = "${{var.name}} {n}"\n'
    '  provisioner "local-exec" {{\n    command = "sleep 2"\n  }}\n}}\n'
)
_SPEC = """\
  outputs:
    id: {value: "${steps.stack.outputs.id}"}
  steps:
    - id: stack
      terraform: {module: terraform, variables: {name: "${service.team}-${service.name}"VARIABLES}}
"""


def module(*, slow: bool, patches: int = 0, provider: StackProvider | None = None) -> str:
    """A module of a few independent resources: instant ones, or such that take two seconds each.

    Args:
        slow: Whether they take two seconds; only those without a provider do.
        patches: How many resources patches have added since, of two seconds each.
        provider: Whose they are; default: nobody's.
    """
    provider = provider or StackProvider()
    form = _SLOW if slow else provider.resource
    resources = "".join(form.format(kind="part", n=number) for number in range(provider.resources))
    added = "".join(_SLOW.format(kind="patch", n=number) for number in range(patches))
    return f"{provider.head}{_VARIABLE}{resources}{added}{_OUTPUT.format(value=provider.output)}"


def values(name: str, provider: StackProvider | None = None) -> str:
    """The values of the module's variables, as a `terraform.tfvars`."""
    variables = {"name": name, **(provider.variables if provider else {})}
    return "".join(f'{key} = "{value}"\n' for key, value in variables.items())


def promise(
    directory: Path, name: str, *, slow: bool, patches: int = 0, provider: StackProvider | None = None
) -> Path:
    """A promise of one such stack; each patch is the next patch version."""
    files = {"terraform/main.tf": module(slow=slow, patches=patches, provider=provider)}
    version = f"1.0.{patches}"
    variables = "".join(f', {key}: "{value}"' for key, value in (provider.variables if provider else {}).items())
    spec = _SPEC.replace("VARIABLES", variables)
    return processes.write_promise(directory / f"{name}-{version}", name, files, spec, version=version)
