"""What numbered documents have in common: one of them is in force, the newest."""

from __future__ import annotations

from bondstone.base.errors import Changed


def require_expected(what: str, current: int, expected: int | None) -> None:
    """Refuse to publish over a document that the caller has not read.

    Args:
        what: `policy set`, for the message.
        current: The number of the one in force, 0 for none.
        expected: The number that the caller has read, 0 for none; None when it does not mind.

    Raises:
        Changed: the two differ.
    """
    if expected is None or expected == current:
        return
    known = f"{what} {expected}" if expected else f"no {what}"
    raise Changed(
        f"{what} {current} is in force now, and {known} was when this was compared",
        hint="somebody published in between; compare again with `bond diff`",
    )
