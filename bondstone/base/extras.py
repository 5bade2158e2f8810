"""The optional parts of the distribution: which packages each brings, and what to say where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final

from bondstone.base.errors import ExtraMissing

EXTRAS: Final[Mapping[str, tuple[str, ...]]] = {
    "worker": ("aiohttp", "hcl2", "kubernetes", "pygohcl", "python_terraform", "re2", "regorus", "uvloop"),
    "server": ("fastapi", "jinja2", "mcp", "nh3", "python_multipart", "uvicorn"),
}
"""Import names by extra; `pyproject.toml` has the distributions. The command and the client need none of them, but
for what looks inside promises and policies before they are published."""


def missing(package: str) -> ExtraMissing | None:
    """The error for a package that cannot be imported; None when it belongs to no extra.

    Args:
        package: Import name, submodules included: what `ModuleNotFoundError.name` holds.
    """
    top = package.partition(".")[0]
    return next((_error(extra, top) for extra, packages in EXTRAS.items() if top in packages), None)


def require(extra: str) -> None:
    """Refuse to go further without an extra.

    Args:
        extra: A key of `EXTRAS`.

    Raises:
        ExtraMissing: when one of its packages is not installed.
    """
    for package in EXTRAS[extra]:
        require_package(package)


def require_package(package: str) -> None:
    """Refuse to go further without one package of an extra.

    Args:
        package: Import name, one of those in `EXTRAS`.

    Raises:
        ExtraMissing: when it is not installed.
    """
    error = missing(package)
    if error is not None and find_spec(package) is None:
        raise error


def _error(extra: str, package: str) -> ExtraMissing:
    return ExtraMissing(
        f"the Python package {package} is not installed, which is part of the extra {extra!r}",
        hint=f"pip install 'bondstone[{extra}]'",
    )
