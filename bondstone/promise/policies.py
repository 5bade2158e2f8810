"""The policies that a promise brings along."""

from __future__ import annotations

from pathlib import Path

from bondstone.model.promise import Promise
from bondstone.policy import Module, load_modules


def policy_modules(promise: Promise, directory: Path) -> list[Module]:
    """Every Rego module and data file that `spec.policies` names, by its path in the promise's folder.

    Args:
        promise: Whose policies.
        directory: Its folder, or its unpacked bundle.

    Raises:
        PolicyInvalid: when a file cannot be read as Rego source.
        NotFound: when a name leads nowhere.
    """
    by_path: dict[str, Module] = {}
    for name in promise.spec.policies:
        target = directory / name
        folder = target.parent if target.suffix == ".rego" else target
        prefix = folder.relative_to(directory).as_posix()
        for module in load_modules(folder, "promise"):
            path = module.name if prefix == "." else f"{prefix}/{module.name}"
            if folder == target or path == target.relative_to(directory).as_posix():
                by_path[path] = Module(path, module.source, "promise", "" if prefix == "." else prefix)
    return [by_path[path] for path in sorted(by_path)]
