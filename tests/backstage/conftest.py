"""A platform with a stock Backstage beside it, once for the run; skipped by name where it is not installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.local_platform import LocalPlatform
from harness.local_platform import running as platform_running
from harness.servers import backstage as stock
from harness.servers.process import free_port

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "integration"))

ACCESS = """\
apiVersion: bondstone.dev/v1
kind: Access
spec:
  grants:
    - subjects: [{group: payments}]
      roles: [developer]
      scope: {teams: [payments]}
    - subjects: [{group: owners-of-the-platform}]
      roles: [admin]
      scope: everything
    - subjects: [{user: ada@example.com}, {user: "backstage:mcp-actions"}]
      roles: [viewer]
      scope: everything
"""


class Pair:
    """A platform and a Backstage that know each other."""

    def __init__(self, platform: LocalPlatform, url: str, folder: Path) -> None:
        self.platform = platform
        self.url = url
        self.folder = folder
        self.backstage = stock.Backstage(url, folder, stock.Secrets(folder))

    def until(self, check: Callable[[], object], seconds: float = 60, what: str = ""):
        """Wait for something to become true; it, and after how many seconds."""
        began = time.monotonic()
        while not (answer := check()):
            assert time.monotonic() - began < seconds, f"{what}\n{self.backstage.server.tail()}"
            time.sleep(0.1)
        return answer, time.monotonic() - began


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if not stock.NODE.exists():
        pytest.skip("Backstage's packages are not installed: `make backstage-packages`")
    folder = tmp_path_factory.mktemp("backstage")
    files = stock.Secrets(folder)
    files.make()
    url = f"http://localhost:{free_port()}"
    with platform_running(folder / "data", stock.bondstone_settings(url, files)) as platform:
        (folder / "access.yaml").write_text(ACCESS)
        platform.bond("access", "publish", str(folder / "access.yaml"))
        for promise in ("sqlite-database",):
            platform.bond("promise", "publish", str(ROOT / "promises" / promise))
        both = Pair(platform, url, folder)
        try:
            both.backstage.start(stock.configuration(url, platform.settings.api, files))
            yield both
        finally:
            both.backstage.close()
