"""Who asks, where nobody has authenticated: a name as asserted."""

from __future__ import annotations

import getpass
import os


def who_asks() -> str:
    """The name in `BOND_AS`, else the user of the operating system.

    A container's user id often has no name; then it is `uid-N`.
    """
    if name := os.environ.get("BOND_AS", ""):
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        return f"uid-{os.getuid()}"
