"""Who asks, where nobody has authenticated: a name as asserted."""

from __future__ import annotations

import getpass
import os


def who_asks() -> str:
    """The name in `BOND_AS`, else the user of the operating system."""
    return os.environ.get("BOND_AS", "") or system_user()


def system_user() -> str:
    """The user of the operating system; `uid-N` where that has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # KeyError before Python 3.13
        return f"uid-{os.getuid()}"
