"""Install a mock of AWS below `.tools`: `make bench-tools`, or `python -m tools.aws_mock`."""

from __future__ import annotations

import sys

from harness.servers.aws_mock import AWS_MOCK, PINS
from tools import own_environment


def main() -> int:
    """Install it where it is missing; the exit status."""
    with own_environment.locked(AWS_MOCK.parent):
        own_environment.install(AWS_MOCK, PINS, sys.executable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
