"""Argument lists for Terraform, built by python-terraform.

Only its `generate_cmd_string` is used, with scalar options: a dictionary would write a temporary file and leave
it behind, and every other method runs processes in ways that do not work with Terraform 1.0 and newer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from python_terraform import IsFlagged, Terraform

LOCK_SECONDS = 60
"""How long to wait for the lock of a backend of its own, before the attempt is tried again."""

Mode = Literal["normal", "destroy", "refresh-only"]

# Its constructor loads a `terraform.tfstate` from the working directory: give it one that cannot hold any.
_BUILDER = Terraform(working_dir=os.devnull)


def plan(*, out: Path, variables: Path, mode: Mode = "normal", has_own_backend: bool = False) -> list[str]:
    """`terraform plan`, saved to a file. No lock: a run directory has one user, a backend of its own many."""
    options: dict[str, Any] = {
        "json": IsFlagged,
        "input": False,
        **_lock(has_own_backend),
        "out": out,
        "var_file": variables,
    }
    if mode != "normal":
        options[mode] = IsFlagged
    return _arguments("plan", **options)


def apply(plan_file: Path, *, has_own_backend: bool = False) -> list[str]:
    """`terraform apply` of a saved plan; `-backup=-` writes no second copy of the state."""
    backup = {} if has_own_backend else {"backup": "-"}
    return _arguments("apply", str(plan_file), json=IsFlagged, input=False, **_lock(has_own_backend), **backup)


def show(plan_file: Path) -> list[str]:
    """`terraform show -json` of a saved plan."""
    return _arguments("show", str(plan_file), json=IsFlagged)


def state_pull() -> list[str]:
    """`terraform state pull`."""
    return ["state", "pull"]


def connect(config: Path) -> list[str]:
    """`terraform init` of the backend alone: providers and modules are there."""
    return _arguments(
        "init", input=False, no_color=IsFlagged, reconfigure=IsFlagged, get=False, backend_config=str(config)
    )


def init(*, readonly_lock: bool, has_own_backend: bool = False) -> list[str]:
    """`terraform init`, obeying the module's own dependency lock file where it ships one."""
    return _arguments(
        "init",
        backend=False if has_own_backend else None,
        input=False,
        no_color=IsFlagged,
        reconfigure=IsFlagged,
        lockfile="readonly" if readonly_lock else None,
    )


def init_to_validate(*, readonly_lock: bool, plugins: Path | None) -> list[str]:
    """`terraform init` of modules and providers alone.

    Args:
        readonly_lock: The module ships a dependency lock file, which is obeyed.
        plugins: The only directory that providers may come from; None for the places of the machine's settings.
    """
    return _arguments(
        "init",
        backend=False,
        input=False,
        no_color=IsFlagged,
        lockfile="readonly" if readonly_lock else None,
        plugin_dir=str(plugins) if plugins else None,
    )


def validate() -> list[str]:
    """`terraform validate`."""
    return _arguments("validate", json=IsFlagged, no_color=IsFlagged)


def _lock(has_own_backend: bool) -> dict[str, Any]:  # noqa: FBT001 - one answer, two callers
    return {"lock_timeout": f"{LOCK_SECONDS}s"} if has_own_backend else {"lock": False}


def _arguments(verb: str, *positional: str, **options: Any) -> list[str]:
    built: list[str] = _BUILDER.generate_cmd_string(verb, *positional, **options)
    return built[1:]
