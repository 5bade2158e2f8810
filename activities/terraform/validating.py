"""What Terraform itself says of a promise's modules before it is published: `terraform validate`, once a module.

Nothing is planned and no service is touched. A module that needs providers or modules from elsewhere is first
given to `terraform init -backend=false`. What cannot be fetched on this machine says nothing about the machine of
a worker, so it is a warning, and the module goes unasked.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from bondstone.activities.terraform import command
from bondstone.activities.terraform.binary import Tool, find_tool
from bondstone.activities.terraform.diagnostics import depends_on_machine, lost_providers, to_problem
from bondstone.activities.terraform.environment import tool_environment
from bondstone.activities.terraform.module_files import modules_from_elsewhere
from bondstone.activities.terraform.section import TerraformSection
from bondstone.activities.terraform.stream import Diagnostic, diagnostic_of, diagnostics_in, errors_of
from bondstone.activities.terraform.workspace import (
    DATA_DIRECTORY,
    LOCK_FILE,
    link_module,
    module_path,
    override_backend,
)
from bondstone.activities.tooling.process import capture
from bondstone.activities.tooling.sandbox import sandbox
from bondstone.base.errors import BondError, Problem
from bondstone.base.printable import shorten
from bondstone.base.settings import Settings
from bondstone.promise.sections import ToolReport

ASK_SECONDS: Final = 60.0
"""How long Terraform may take for one module, downloads included."""
_AT_ONCE: Final = 2
_REASON_LIMIT: Final = 400
_ADVICE: Final = "To see which modules"
"""Begins what Terraform advises people to run who have initialized the module."""
_NO_PROVIDER: Final = re.compile(r"^Missing required provider", re.IGNORECASE)

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
"""An API with many uploads runs this many at once."""


class _UnaskedError(Exception):
    """Terraform could not be asked about a module; the text says why."""


async def ask_terraform(
    sections: Sequence[TerraformSection], promise: Path, settings: Settings, *, fetch: bool
) -> ToolReport:
    """Have Terraform validate each module that a promise's steps name.

    Args:
        sections: Of its Terraform steps; the built-in checks have passed.
        promise: The promise's folder.
        settings: Which Terraform to run, and in what sandbox.
        fetch: Whether providers and modules from elsewhere may be fetched, and providers run.
    """
    problems: list[Problem] = []
    warnings: list[Problem] = []
    root = await asyncio.to_thread(promise.resolve)
    for module, has_own_backend in dict.fromkeys(
        (section.module, section.backend == "own") for section in sections
    ):
        try:
            async with _turn(), asyncio.timeout(ASK_SECONDS):
                problems += await _validate(root, module, settings, has_own_backend=has_own_backend, fetch=fetch)
        except TimeoutError:
            warnings.append(_unasked(module, f"it did not answer within {ASK_SECONDS:g} s"))
        except _UnaskedError as error:
            warnings.append(_unasked(module, str(error)))
        except BondError as error:
            warnings.append(_unasked(module, error.message))
    return ToolReport(tuple(problems), tuple(warnings))


def _unasked(module: str, reason: str) -> Problem:
    text = shorten(" ".join(reason.split()), _REASON_LIMIT)
    return Problem(
        message=f"Terraform was not asked about this module: {text}",
        file=module,
        hint="`bond promise test` runs it where its providers are available",
    )


def _turn() -> asyncio.Semaphore:
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE))


async def _validate(
    promise: Path, module: str, settings: Settings, *, has_own_backend: bool, fetch: bool
) -> list[Problem]:
    tool = find_tool(settings)
    with tempfile.TemporaryDirectory(prefix="bond-validate-", ignore_cleanup_errors=True) as name:
        bench = _Bench(await asyncio.to_thread(Path(name).resolve), promise, module, settings, tool)
        await asyncio.to_thread(bench.lay_out, has_own_backend=has_own_backend)
        errors = await bench.validate()
        if _needs_init(errors):
            errors = await bench.init(fetch=fetch) or await bench.validate()
    if local := [item for item in errors if depends_on_machine(item) or _needs_init([item])]:
        raise _UnaskedError(f"{local[0].summary}: {local[0].detail.partition(_ADVICE)[0]}")
    problems = [to_problem(item, module) for item in errors]
    if problems:
        hint = f"`terraform validate` of {tool.path} refuses this; BOND_TERRAFORM names another"
        problems[-1] = problems[-1].changed(hint=hint)
    return problems


def _needs_init(errors: Sequence[Diagnostic]) -> bool:
    return lost_providers(errors) or any(_NO_PROVIDER.search(item.summary) for item in errors)


@dataclass(frozen=True, slots=True)
class _Bench:
    """A temporary directory with the module laid out as a worker lays it out."""

    root: Path
    promise: Path
    module: str
    settings: Settings
    tool: Tool

    @property
    def place(self) -> Path:
        """Where Terraform runs."""
        return self.root / "tree" / module_path(self.module)

    def lay_out(self, *, has_own_backend: bool) -> None:
        for name in ("none", "tmp"):
            (self.root / name).mkdir()
        link_module(self.promise, self.module, self.root / "tree")
        if not has_own_backend:
            override_backend(self.place)

    async def validate(self) -> list[Diagnostic]:
        """The errors that `terraform validate` finds."""
        code, out, err = await self._run(command.validate(), fetching=False)
        try:
            document: Any = json.loads(out)
            items = [diagnostic_of(item) for item in document["diagnostics"]]
        except (ValueError, KeyError, TypeError) as error:
            if not (items := diagnostics_in(err)):
                raise _UnaskedError(f"it ended with code {code}: {err.strip() or 'it said nothing'}") from error
        return errors_of(items)

    async def init(self, *, fetch: bool) -> list[Diagnostic]:
        """Have modules and providers fetched; what went wrong, nothing when they are there."""
        if not fetch and (sources := modules_from_elsewhere(self.promise, self.module)):
            raise _UnaskedError(f"it uses the module {sources[0]}, which is not fetched here")
        locked = (self.place / LOCK_FILE).exists()
        arguments = command.init_to_validate(readonly_lock=locked, plugins=None if fetch else self.root / "none")
        code, _, err = await self._run(arguments, fetching=fetch)
        if code == 0:
            return []
        errors = errors_of(diagnostics_in(err))
        if not fetch and any(depends_on_machine(item) for item in errors):
            raise _UnaskedError("it needs providers, which do not run here")
        return errors or [Diagnostic("error", "terraform init failed", err.strip())]

    async def _run(self, arguments: list[str], *, fetching: bool) -> tuple[int, bytes, str]:
        environment = tool_environment(os.environ, self.settings.tool_environment, data=Path(DATA_DIRECTORY))
        environment["TMPDIR"] = str(self.root / "tmp")
        bounds = sandbox(
            self.settings,
            environment,
            readable=(self.promise, self.root),
            writable=(self.root / "tree", self.root / "tmp"),
            program=self.tool.path,
            fetching=fetching,
        )
        return await capture(
            self.tool.reading(arguments), self.place, environment, verb=arguments[0], sandbox=bounds
        )
