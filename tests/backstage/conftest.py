"""A platform with a stock Backstage beside it, once for the run; skipped by name where it is not installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from lane import PARTS

from harness import providers
from harness.local_platform import LocalPlatform
from harness.local_platform import running as platform_running
from harness.servers.backstage.configuration import Secrets, bondstone_settings, configuration
from harness.servers.backstage.packages import SOURCE, missing
from harness.servers.backstage.stock import Backstage
from harness.servers.certificates import write_own
from harness.servers.process import LOOPBACK, free_port
from harness.servers.wire import Wire
from harness.waiting import NotInTime, wait_until

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "integration"))


class Pair:
    """A platform and a Backstage that know each other, and the wire from Backstage to the platform's API.

    Each side reaches the other over TLS, through what stands for a reverse proxy.
    """

    promises = ROOT / "promises"

    def __init__(self, platform: LocalPlatform, url: str, folder: Path, wire: Wire) -> None:
        self.platform = platform
        self.url = url
        self.folder = folder
        self.wire = wire
        self.backstage = Backstage(url, folder, Secrets(folder))

    def refresh(self, *parts: str) -> None:
        """Have Backstage read parts of the feed now, as the platform tells it to after a change."""
        headers = {"Authorization": f"Bearer {self.backstage.files.catalog.read_text()}"}
        for part in parts:
            body = {"entityRef": f"location:default/bondstone-{part}"}
            self.backstage.post("/api/catalog/refresh", body, headers).raise_for_status()

    def feed(self, api: str = "") -> dict[str, str]:
        """The whole feed of an API process; by default the platform's own.

        Args:
            api: Its URL.

        Returns:
            Part: its text.
        """
        return {part: answer.text for part, answer in self.read_feed(api).items()}

    def read_feed(self, api: str = "") -> dict[str, httpx2.Response]:
        """As `feed`, the answers."""
        address = f"{api or self.platform.settings.api}/backstage/v1/{self.backstage.files.feed.read_text()}"
        with httpx2.Client(timeout=60, trust_env=False) as client:
            return {part: client.get(f"{address}/{part}.yaml") for part in PARTS}

    def until(self, check: Callable[[], object], seconds: float = 60, what: str = ""):
        """Wait for something to become true; it, and after how many seconds."""
        began = time.monotonic()
        try:
            answer = wait_until(check, what, seconds=seconds)
        except NotInTime as error:
            raise AssertionError(f"{error}\n{self.backstage.server.tail()}") from error
        return answer, time.monotonic() - began


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    if words := missing() or providers.missing_node():
        pytest.skip(words)
    folder = tmp_path_factory.mktemp("backstage")
    files = Secrets(folder)
    files.make()
    url = f"http://{LOOPBACK}:{free_port()}"
    certificate = write_own(folder)
    with (
        Wire(url, certificate) as front,
        providers.node_provider(folder, callback=f"{url}/api/auth/oidc/handler/frame") as issuer,
        platform_running(
            folder / "data",
            {**bondstone_settings(front.url, files, app_url=url, pages=1), "SSL_CERT_FILE": str(certificate[0])},
        ) as platform,
        Wire(platform.settings.api, certificate) as wire,
    ):
        platform.bond("access", "publish", str(SOURCE / "access.yaml"))
        for promise in ("sqlite-database",):
            platform.bond("promise", "publish", str(ROOT / "promises" / promise))
        both = Pair(platform, url, folder, wire)
        try:
            told = configuration(url, wire.url, files, issuer=issuer, proxy=True)
            both.backstage.start(told, authority=certificate[0])
            both.until(lambda: both.backstage.signs_in("ada"), what="the people of the catalog")
            yield both
        finally:
            both.backstage.close()
