"""Further API processes beside the one of a local platform: the same data directory, ports of their own."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from typing import Self

from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from harness.local_platform import LocalPlatform
from harness.servers.process import LOOPBACK, Server, answers, free_port

STOP_SECONDS = 60


class ApiProcess:
    """`python -m bondstone.workers.api` on a platform that runs.

    Args:
        platform: Whose data and Temporal it uses.
        name: What its log is called.
        environment: Variables beside those of the platform.
        stream_seconds: How long its event streams stay open; None for as long as everywhere.
    """

    def __init__(
        self,
        platform: LocalPlatform,
        name: str = "api-2",
        environment: Mapping[str, str] | None = None,
        stream_seconds: float | None = None,
    ) -> None:
        self._platform = platform
        port = free_port()
        self.url = f"http://{LOOPBACK}:{port}"
        settings = platform.settings.changed(api=self.url, api_bind=f"{LOOPBACK}:{port}")
        command = [sys.executable, "-m", "bondstone.workers.api"]
        if stream_seconds is not None:
            command = [sys.executable, "-m", "harness.api_process", str(stream_seconds)]
        self.server = Server(
            name=name,
            arguments=command,
            log=platform.data / "log" / f"{name}.log",
            ready=answers(f"{self.url}/healthz"),
            environment={**platform.environment, **settings.as_environment(), **(environment or {})},
            stop_signal=signal.SIGTERM,
            stop_seconds=STOP_SECONDS,
        )

    def __enter__(self) -> Self:
        """Start it, and wait until it serves."""
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it in order."""
        self.server.kill()

    @property
    def bearer(self) -> dict[str, str]:
        """The header of the holder of the data directory."""
        token = (self._platform.data / LOCAL_TOKEN_FILE).read_text(encoding="ascii").strip()
        return {"Authorization": f"Bearer {token}"}


def main() -> int:
    """Serve with event streams that end after so many seconds; the exit status."""
    from bondstone.api.events import streams  # noqa: PLC0415 - only the process that serves needs it
    from bondstone.workers import api  # noqa: PLC0415 - as above

    streams.STREAM_SECONDS = float(sys.argv[1])  # type: ignore[misc] # a stand-in for a quarter of an hour
    return api.main()


if __name__ == "__main__":
    sys.exit(main())
