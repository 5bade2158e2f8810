"""Screenshots of the console on a platform with a fleet, for the documentation: `python -m harness.screenshots`.

A platform of its own is started, `bond demo --campaign` fills it, and a browser looks at it. Every picture is of
one window of 1280 by 760 pixels; what is written in it differs by the times of the run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from harness.local_platform import LocalPlatform, running

ROOT: Final = Path(__file__).parents[1]
PICTURES: Final = ROOT / "docs" / "pictures"
WIDTH: Final = 1280
HEIGHT: Final = 760
MAX_BYTES: Final = 150_000
Scheme = Literal["light", "dark"]

CHECK: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: weekly-check, owner: platform, reason: "changed by hand?", change: CHG-4712}
spec:
  operation: reconcile
  promise: web-server
  select: {where: "true"}
  waves:
    - {name: canary, where: "labels.ring == 'canary'", max_failures: 0, soak: 45m}
    - {name: billing, where: "team == 'billing'", max_failures: 1, gate: {approval: {roles: [sre]}}}
    - {name: rest, rest: true}
  budget: {max_failures: 2}
  windows:
    allow: [{cron: "0 0 * * *", duration: 24h, time_zone: Europe/London}]
    deny: [{cron: "0 9 * * MON-FRI", duration: 3h, time_zone: Europe/London}]
"""
STRATEGY: Final = (
    CHECK.replace("kind: Campaign", "kind: Strategy").replace(", change: CHG-4712", "").partition("  windows:")[0]
)
PAGES: Final[tuple[tuple[str, str, Scheme], ...]] = (
    ("campaign", "/campaigns/cve-2026-1234", "light"),
    ("campaign-soaks", "/campaigns/weekly-check", "dark"),
    ("approval", "/services/payments/orders/operations/2", "light"),
    ("services", "/services", "light"),
    ("request", "/catalogue/sqlite-database/request", "light"),
    ("calendar", "/calendar", "light"),
)
"""Name, address, scheme."""


def fill(platform: LocalPlatform, directory: Path) -> None:
    """A fleet, a campaign that failed, one that soaks, a plan that waits, a freeze, a schedule."""
    platform.bond("demo", "--campaign", seconds=900)
    platform.bond("promise", "publish", str(ROOT / "promises" / "sqlite-database"))
    orders = ("payments/orders", "--set", "contact=team@example.com", "--wait")
    platform.bond("--as", "ada", "service", "request", "sqlite-database", *orders)
    platform.bond("--as", "ada", "service", "update", "payments/orders", "--set", "size=medium", "--ask")
    for name, text in (("weekly-check", CHECK), ("strategy", STRATEGY)):
        (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
    platform.bond("--as", "ada", "campaign", "run", "-f", str(directory / "weekly-check.yaml"))
    platform.bond("--as", "eve", "freeze", "create", "audit", "--team", "maps", "--reason", "the books are closed")
    times = ("--cron", "0 22 * * TUE,FRI", "--time-zone", "Europe/London")
    platform.bond("schedule", "create", "weekly", "-f", str(directory / "strategy.yaml"), *times)


def take(platform: LocalPlatform, browser: Browser, pictures: Path) -> list[Path]:
    """Every picture of `PAGES`.

    Raises:
        AssertionError: a page is refused, or a picture is too large for the repository.
    """
    pictures.mkdir(parents=True, exist_ok=True)
    taken = []
    for name, address, scheme in PAGES:
        url = json.loads(platform.bond("--as", "eve", "open", "--print", "-o", "json").stdout)["url"]
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
        page = context.new_page()
        page.goto(url)
        look(page, url.partition("/sign-in")[0] + address)
        picture = pictures / f"{name}.png"
        page.screenshot(path=picture)
        context.close()
        if picture.stat().st_size > MAX_BYTES:
            raise AssertionError(f"{picture} has {picture.stat().st_size} bytes, more than {MAX_BYTES}")
        taken.append(picture)
    return taken


def look(page: Page, url: str) -> None:
    """Open a page, and wait until nothing that it waits for comes by itself any more."""
    answer = page.goto(url)
    if answer is None or answer.status != 200:
        raise AssertionError(f"{url}: {answer.status if answer else 'no answer'}")
    if url.endswith("/operations/2"):
        button = page.get_by_role("button", name="Approve this plan")
        button.wait_for(timeout=300_000)
        button.evaluate("element => element.closest('section').scrollIntoView({block: 'end'})")
    if url.endswith("/weekly-check"):
        page.get_by_text("soaks").first.wait_for(timeout=300_000)


def main() -> None:
    """Fill a platform and look at it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=PICTURES, help="where the pictures go (default: docs/pictures)")
    pictures = parser.parse_args().to
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        sys.exit("no Chromium on PATH: install the system's package `chromium`")
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch) / "data") as platform:
        fill(platform, Path(scratch))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program, args=["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]
            )
            for picture in take(platform, browser, pictures):
                print(f"{picture.name}: {picture.stat().st_size} bytes")
            browser.close()


if __name__ == "__main__":
    main()
