"""Failed `check` blocks and postconditions, as a plan and a state tell of them. Pure.

They stop nothing: Terraform only warns. The words are the author's; what is secret in them is masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bondstone.activities.terraform.masking import Redact
from bondstone.base.printable import shorten

_BAD: Final = frozenset({"fail", "error"})
_MOST: Final = 20
_WORDS_CHARS: Final = 300


def planned_checks(document: Mapping[str, Any], redact: Redact) -> tuple[str, ...]:
    """The failed checks of a plan (`show -json`), each as `check.name: words`."""
    results = (
        (
            item.get("address", {}).get("to_display"),
            [problem.get("message") for problem in item.get("problems", ())],
        )
        for check in document.get("checks") or ()
        for item in check.get("instances") or ()
        if item.get("status") in _BAD
    )
    return _words(results, redact)


def state_checks(content: Mapping[str, Any], redact: Redact) -> tuple[str, ...]:
    """The failed checks that a state file keeps of the apply that wrote it."""
    results = (
        (item.get("object_addr"), item.get("failure_messages") or ())
        for check in content.get("check_results") or ()
        for item in check.get("objects") or ()
        if item.get("status") in _BAD
    )
    return _words(results, redact)


def _words(results: Iterator[tuple[Any, Sequence[Any]]], redact: Redact) -> tuple[str, ...]:
    lines = [
        f"{address}: {shorten(' '.join(redact(str(text)).split()), _WORDS_CHARS)}"
        for address, texts in results
        for text in texts or ["it could not be evaluated"]
    ]
    left = len(lines) - _MOST
    return (*lines[:_MOST], *([f"and {left} more"] if left > 0 else []))
