"""Whose resources the stacks of a benchmark are: no provider's, a small one's, or a large one's.

Small is hashicorp/time, which `make bench-tools` builds. Large is hashicorp/aws, from a mirror of providers on
this machine, against a mock of AWS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from harness import pinned, terraform_mirror
from harness.servers import aws_mock
from harness.terraform_mirror import PLATFORM, configured

NONE, SMALL, LARGE = "none", "small", "large"
RESOURCES: Final = {NONE: 2, SMALL: 2, LARGE: 3}
"""How many a stack has."""

_HOST: Final = "registry.terraform.io/hashicorp"
_LARGE: Final = f"{_HOST}/aws"
_IMPLIED: Final = ("~/.terraform.d/plugins", "/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
"""Where Terraform itself looks for providers on this machine."""
_REQUIRED: Final = (
    "terraform {{\n  required_providers {{\n"
    '    {name} = {{ source = "hashicorp/{name}", version = "{version}" }}\n  }}\n}}\n'
)
_OF_AWS: Final = """\
variable "endpoint" {
  type = string
}
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "mock"
  secret_key                  = "mock"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
  endpoints {
    ssm = var.endpoint
  }
}
"""


class ProviderMissing(Exception):
    """A provider is not on this machine; the message says what brings it."""


@dataclass(frozen=True)
class StackProvider:
    """What a module has beside its resources, and what Terraform needs to install it."""

    head: str = ""
    resource: str = 'resource "terraform_data" "{kind}{n}" {{\n  input = "${{var.name}} {n}"\n}}\n'
    output: str = "terraform_data.part0.id"
    resources: int = RESOURCES[NONE]
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    label: str = "no provider"


@contextmanager
def provided(kind: str, directory: Path, mirror: str) -> Iterator[StackProvider]:
    """A provider with all that it needs, for as long as it is used.

    Args:
        kind: `none`, `small` or `large`.
        directory: For a mirror, the configuration of Terraform, logs.
        mirror: The directory that `large` comes from; empty: where Terraform looks on this machine.

    Raises:
        ProviderMissing: it is not on this machine.
    """
    if kind == NONE:
        yield StackProvider()
    elif kind == SMALL:
        yield _small(directory)
    else:
        root, version = _mirrored(mirror)
        if why := aws_mock.missing():
            raise ProviderMissing(why)
        with aws_mock.running(directory) as endpoint:
            yield StackProvider(
                head=_REQUIRED.format(name="aws", version=version) + _OF_AWS,
                resource=(
                    'resource "aws_ssm_parameter" "{kind}{n}" {{\n  name  = "/${{var.name}}/{n}"\n'
                    '  type  = "String"\n  value = "{n}"\n}}\n'
                ),
                output="aws_ssm_parameter.part0.name",
                resources=RESOURCES[LARGE],
                variables={"endpoint": endpoint},
                environment=configured(directory, root),
                label=f"hashicorp/aws {version}, against moto",
            )


def _small(directory: Path) -> StackProvider:
    name = "terraform-provider-time"
    try:
        program = pinned.find(name)
    except pinned.ToolMissing as error:
        raise ProviderMissing(str(error)) from None
    version = pinned.BENCHES[name].version
    root = terraform_mirror.mirror(directory, f"{_HOST}/time", version, program)
    return StackProvider(
        head=_REQUIRED.format(name="time", version=version),
        resource='resource "time_static" "{kind}{n}" {{\n  triggers = {{ name = "${{var.name}} {n}" }}\n}}\n',
        output="time_static.part0.id",
        resources=RESOURCES[SMALL],
        environment=configured(directory, root),
        label=f"hashicorp/time {version}",
    )


def _mirrored(mirror: str) -> tuple[Path, str]:
    """The mirror that has the large provider, and the newest version that it has for this machine."""
    for root in [Path(mirror)] if mirror else [Path(path).expanduser() for path in _IMPLIED]:
        folders = [path.parent for path in (root / _LARGE).glob(f"*/{PLATFORM}")]
        if folders:
            newest = max(folders, key=lambda folder: [int(number) for number in re.findall(r"\d+", folder.name)])
            return root.absolute(), newest.name
    where = mirror or ", ".join(_IMPLIED)
    raise ProviderMissing(
        f"no hashicorp/aws for {PLATFORM} in {where}: name a mirror, as `terraform providers mirror` makes it, "
        "with --mirror"
    )
