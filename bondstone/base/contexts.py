"""Platforms that a person works with, by name: kept in one file of the user's configuration directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SETTINGS: Final = (
    "data", "api", "temporal_address", "temporal_namespace", "temporal_ui", "store", "keys", "payload_keys"
)  # fmt: skip
"""Settings that a context may hold; see `bondstone.base.settings`."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """All contexts, and which one commands use.

    Args:
        current: Name of the one in use; empty for none.
        known: Settings by context.
    """

    current: str = ""
    known: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def get(self, name: str) -> Mapping[str, str]:
        """The settings of a context.

        Raises:
            NotFound: naming those there are.
        """
        if name not in self.known:
            from bondstone.base.errors import NotFound  # noqa: PLC0415 - failures only; this module stays light

            known = ", ".join(sorted(self.known)) or "none is known yet"
            raise NotFound(f"there is no context {name!r}", hint=f"bond context list: {known}")
        return self.known[name]


def contexts_file() -> Path:
    """The file: `BOND_CONTEXTS`, else `contexts.json` in the user's configuration directory."""
    if named := os.environ.get("BOND_CONTEXTS", ""):
        return Path(named)
    import platformdirs  # noqa: PLC0415 - as above

    return Path(platformdirs.user_config_dir("bondstone", appauthor=False)) / "contexts.json"


def read_contexts(file: Path | None = None) -> Contexts:
    """What is known; nothing when there is no file, or it cannot be read.

    Args:
        file: Default: `contexts_file()`.
    """
    try:
        held: Any = json.loads((file or contexts_file()).read_text(encoding="utf-8"))
        known = {str(name): {key: str(values[key]) for key in SETTINGS if key in values}
                 for name, values in held["contexts"].items()}  # fmt: skip
        return Contexts(current=str(held.get("current", "")), known=known)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Contexts()


def write_contexts(contexts: Contexts, file: Path | None = None) -> None:
    """Replace the file, readable by its owner alone.

    Args:
        contexts: What to keep.
        file: Default: `contexts_file()`.
    """
    from bondstone.base.files import create_private_directory, write_durably  # noqa: PLC0415 - as above

    path = file or contexts_file()
    create_private_directory(path.parent)
    held = {"current": contexts.current, "contexts": {name: dict(its) for name, its in contexts.known.items()}}
    write_durably(path.parent, path.name, json.dumps(held, indent=2).encode() + b"\n", create=False)
