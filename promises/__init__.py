"""The shipped catalogue: one folder per promise, and sample policies of an organisation in `_organisation`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CATALOGUE: Final = Path(__file__).parent
"""Each folder with a `promise.yaml` is a promise."""

ORGANISATION_POLICIES: Final = CATALOGUE / "_organisation"
"""A policy set to begin with: `bond policy publish promises/_organisation`."""


def catalogue() -> list[Path]:
    """The folders of the shipped promises, by name."""
    return sorted(path.parent for path in CATALOGUE.glob("*/promise.yaml"))
