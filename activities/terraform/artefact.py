"""The plan artefact: Terraform's own saved plan behind one line that says what it is. Pure.

A saved plan holds the configuration, the values of the variables, the state it was made from and the providers it
was made with, so it can be applied in another directory on another worker.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass

from bondstone.base.errors import ObjectCorrupt

_MAGIC = b"bondstone-terraform-plan 1 "


@dataclass(frozen=True, slots=True)
class TerraformHeader:
    """What must be known of a plan before Terraform opens it."""

    empty: bool
    destroy: bool
    secrets: tuple[str, ...] = ()
    """Texts to mask while it is applied: Terraform puts command lines into errors as they are."""
    lock_file: str = ""
    """The whole dependency lock file, where the one in the plan leaves out checksums; see `provider_packages`."""


def pack(header: TerraformHeader, plan: bytes) -> bytes:
    """Make the artefact."""
    return _MAGIC + json.dumps(asdict(header), sort_keys=True).encode() + b"\n" + plan


def unpack(artefact: bytes) -> tuple[TerraformHeader, bytes]:
    """Take the artefact apart.

    Raises:
        ObjectCorrupt: when it was not written by this executor.
    """
    line, separator, plan = artefact.partition(b"\n")
    try:
        content = json.loads(line.removeprefix(_MAGIC) if separator else b"")
        secrets = tuple(map(str, content["secrets"]))
        lock_file = str(content.get("lock_file", ""))
        return TerraformHeader(bool(content["empty"]), bool(content["destroy"]), secrets, lock_file), plan
    except (ValueError, KeyError, TypeError) as error:
        raise ObjectCorrupt("the plan artefact is not one of the terraform executor", hint="plan again") from error


def locked_providers(plan: bytes) -> bytes | None:
    """The dependency lock file that a saved plan (a zip archive) was made with; None if it names no provider.

    Terraform refuses to apply a plan beside any other lock file, and a module that ships none may well get other
    versions on another worker.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(plan)) as archive:
            content = archive.read(".terraform.lock.hcl")
    except (zipfile.BadZipFile, KeyError):
        return None
    return content if b"\nprovider " in content else None
