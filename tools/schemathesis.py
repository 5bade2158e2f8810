"""Install Schemathesis below `.tools`: `make schemathesis`, or `python -m tools.schemathesis`."""

from __future__ import annotations

import sys

from harness.openapi_fuzz import PINS, SCHEMATHESIS
from tools import own_environment


def main() -> int:
    """Install it where it is missing; the exit status."""
    with own_environment.locked(SCHEMATHESIS.parent):
        own_environment.install(SCHEMATHESIS, PINS, sys.executable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
