"""What the tests of a stock Backstage share."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

PARTS = ("catalog", "promises", "teams", "services-0")
"""Of the feed of a platform with few services."""


def sqlite_form(name: str, **inputs: object) -> dict:
    """A request of a SQLite database, as the form sends it."""
    return {
        "team": "group:default/payments",
        "name": name,
        "reason": "the lane",
        "inputs": {"contact": "ada@example.com", **inputs},
    }


def rows_with(tables: Path, text: str) -> list[str]:
    """The tables of Backstage with a row that holds a text."""
    matches = []
    for file in tables.glob("*.sqlite"):
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            matches += [
                f"{file.name}: {name}"
                for name in names
                if any(text in repr(row) for row in database.execute(f'SELECT * FROM "{name}"'))  # noqa: S608
            ]
    return matches
