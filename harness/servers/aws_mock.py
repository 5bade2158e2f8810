"""A mock of AWS on this machine, for a real Terraform provider to talk to; `make bench-tools` installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2

from harness.servers.process import LOOPBACK, Server, free_port

ROOT: Final = Path(__file__).parents[2]
PINS: Final = ROOT / "requirements" / "aws-mock.txt"
AWS_MOCK: Final = ROOT / ".tools" / "aws-mock"


def missing() -> str:
    """Why it cannot be started; empty when it can."""
    return "" if (AWS_MOCK / ".pins").exists() else "moto is not installed: run `make bench-tools`"


@contextmanager
def running(directory: Path) -> Iterator[str]:
    """A mock of every service of AWS that moto knows; its address.

    Args:
        directory: For its log.
    """
    port = free_port()
    address = f"http://{LOOPBACK}:{port}"

    def serves() -> bool:
        try:
            return httpx2.get(f"{address}/moto-api/", trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    command = [str(AWS_MOCK / "bin" / "python"), "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]
    server = Server(name="moto", arguments=command, log=directory / "moto.log", ready=serves)
    server.start()
    try:
        yield address
    finally:
        server.kill()
