"""How fast the console's pages are, with 100 and with 10,000 services; beside Temporal's UI and Prefect's.

A platform by `bond up` with one real service, one operation and one campaign; workflows that no worker runs stand
in for the rest of the fleet. Each page is opened in a browser with nothing cached: time to first byte, to first
paint, until its content is on the screen, bytes and requests. Temporal's UI shows the same workflows, in the same
run and browser; it is one program that fetches its data afterwards, so of its figures only content, bytes and
requests compare. So is Prefect's, which is run where its command is (`--prefect PATH`, or on PATH), with a run in
its list for each service, up to a thousand. Then a person pauses the service, again and again: how long after the
platform's own clock a browser that looks at it shows so.

    python -m benchmarks.console --services 100 10000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, BrowserContext, Response, async_playwright
from temporalio.client import Client

from benchmarks import prefect_ui, report
from benchmarks.fleet_list import stand_ins
from benchmarks.report import Report
from harness.local_platform import LocalPlatform, running
from harness.waiting import until_async

ROOT: Final = Path(__file__).parents[1]
ORDERS: Final = "payments/orders"
TIMEOUT_MS: Final = 120_000
FIRST_BYTE_MS: Final = 200.0
FIRST_PAINT_MS: Final = 1000.0
PAGE_KB: Final = 150.0
ON_SCREEN_MS: Final = 1000.0
CAMPAIGN: Final = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: check, reason: benchmark, owner: ops}
spec:
  operation: reconcile
  promise: sqlite-database
  select: {where: "true"}
  waves: [{name: all, rest: true}]
"""
PAGES: Final = {
    "home": ("/", "#main h1"),
    "catalogue": ("/catalogue", "#main h1"),
    "promise": ("/catalogue/sqlite-database", "#main h1"),
    "request form": ("/catalogue/sqlite-database/request", "#main form"),
    "services": ("/services", "#main tbody tr"),
    "services of a team": ("/services?team=team-7", "#main tbody tr"),
    "service": (f"/services/{ORDERS}", "#main .lead"),
    "operation": (f"/services/{ORDERS}/operations/1", "#main .lead"),
    "log": (f"/services/{ORDERS}/operations/1/log?step=database", "#log"),
    "approvals": ("/approvals", "#main h1"),
    "campaigns": ("/campaigns", "#main tbody tr"),
    "campaign": ("/campaigns/check", "#main .timeline"),
    "calendar": ("/calendar", "#main .calendar"),
    "policies, access": ("/rules", "#main h1"),
    "ledger": (f"/ledger?service={ORDERS}", "#main tbody tr"),
    "platform": ("/platform", "#main tbody tr"),
}
"""Name to address, and what is on the screen when its content is."""
TEMPORAL: Final = {
    "Temporal's UI, workflows": ("/namespaces/default/workflows", "table tbody tr a"),
    "Temporal's UI, workflow": (
        f"/namespaces/default/workflows/service%2F{ORDERS.replace('/', '%2F')}",
        "main h1",
    ),
}
_NAVIGATION: Final = """() => {
  const entry = performance.getEntriesByType('navigation')[0];
  const paint = performance.getEntriesByName('first-contentful-paint')[0];
  return [entry.responseStart, paint ? paint.startTime : -1];
}"""
_WATCH: Final = """words => new Promise(resolve => {
  const look = () => document.querySelector('.lead').textContent.includes(words) === (words !== '')
    ? resolve(Date.now()) : requestAnimationFrame(look);
  look();
})"""


@dataclass(frozen=True, slots=True)
class View:
    """One look at a page."""

    first_byte_ms: float
    first_paint_ms: float
    content_ms: float
    kilobytes: float
    requests: int


async def measure(options: argparse.Namespace) -> Report:
    """All sizes on one platform."""
    done = Report("pages of the console")
    platform: LocalPlatform = options.platform
    client = await Client.connect(platform.settings.temporal_address)
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            raise RuntimeError("no Chromium on PATH")
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        peer = await _prefect(options, stack)
        before = 0
        for size in sorted(options.services):
            report.say(f"a fleet of {size}")
            await stand_ins(client, range(before, size - 1))  # one is real
            if peer is not None:
                await peer.fill(range(before, size))
            before = size - 1
            await _listed(platform, browser, size)
            for name, (address, content) in PAGES.items():
                views = [await _console(platform, browser, address, content) for _ in range(options.rounds)]
                _add(done, f"{name}, {size} services", views, aims=True)
            if settings_ui := platform.settings.temporal_ui:
                for name, (address, content) in TEMPORAL.items():
                    views = [await _look(browser, settings_ui + address, content) for _ in range(options.rounds)]
                    _add(done, f"{name}, {size} services", views, aims=False)
            if peer is not None:
                for name, (address, content) in prefect_ui.PAGES.items():
                    views = [await _look(browser, peer.url + address, content) for _ in range(options.rounds)]
                    _add(done, f"{name}, {size} services", views, aims=False)
        delays = await _on_screen(platform, browser, options.events)
        done.add("from the platform's clock to the screen", "ms", *delays, at_most=ON_SCREEN_MS)
        await browser.close()
    done.notes.append("peers' pages paint an empty page first: compare their content, bytes and requests only")
    if peer is None:
        done.notes.append("Prefect's UI was not run: no `prefect` on PATH, and no `--prefect PATH`")
    done.notes.append("no other peer's console is run: Argo CD, AWX and Rundeck need images or a JVM")
    return done


async def _prefect(options: argparse.Namespace, stack: AsyncExitStack) -> prefect_ui.Prefect | None:
    """Prefect's server; None where its command is not."""
    command = prefect_ui.program(options.prefect)
    if command is None:
        return None
    return await stack.enter_async_context(prefect_ui.serving(command, options.scratch))


def _add(done: Report, name: str, views: list[View], *, aims: bool) -> None:
    columns: dict[str, list[float]] = defaultdict(list)
    for view in views:
        columns["first byte"].append(view.first_byte_ms)
        columns["first paint"].append(view.first_paint_ms)
        columns["content"].append(view.content_ms)
    at_most = {"first byte": FIRST_BYTE_MS, "first paint": FIRST_PAINT_MS} if aims else {}
    for column, values in columns.items():
        aim = {"at_most": at_most[column]} if column in at_most else {}
        done.add(f"{name}: {column}", "ms", *values, **aim)
    size = {"at_most": PAGE_KB} if aims else {}
    done.add(f"{name}: bytes", "kB", *(view.kilobytes for view in views), **size)
    done.add(f"{name}: requests", "", *(float(view.requests) for view in views))


async def _signed_in(platform: LocalPlatform, browser: Browser) -> tuple[BrowserContext, str]:
    printed = await asyncio.to_thread(platform.bond, "--as", "ada", "open", "--print", "-o", "json")
    url = json.loads(printed.stdout)["url"]
    context = await browser.new_context()
    await context.request.get(url)
    return context, url.partition("/sign-in")[0]


async def _console(platform: LocalPlatform, browser: Browser, address: str, content: str) -> View:
    context, base = await _signed_in(platform, browser)
    try:
        return await _view(context, base + address, content)
    finally:
        await context.close()


async def _look(browser: Browser, url: str, content: str) -> View:
    context = await browser.new_context()
    try:
        return await _view(context, url, content)
    finally:
        await context.close()


async def _view(context: BrowserContext, url: str, content: str) -> View:
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - Playwright marks its handlers
    await page.goto(url, wait_until="commit")
    await page.locator(content).first.wait_for()
    shown: float = await page.evaluate("performance.now()")
    await page.wait_for_load_state("load")

    async def painted() -> tuple[float, float] | None:
        """What the browser reports, once it has; a predicate in the page is refused by its policy."""
        first_byte, paint = await page.evaluate(_NAVIGATION)
        return (first_byte, paint) if paint >= 0 else None

    first_byte, paint = await until_async(painted, f"the paint of {url}", seconds=TIMEOUT_MS / 1000)
    transferred = 0
    fetched = [each for each in answers if "event-stream" not in each.headers.get("content-type", "")]
    for each in fetched:
        try:
            sizes = await asyncio.wait_for(each.request.sizes(), 10)
        except (TimeoutError, Exception):  # noqa: BLE001, S112 - a request that never ends has no size
            continue
        transferred += sizes["responseBodySize"] + sizes["responseHeadersSize"]
    await page.close()
    return View(first_byte, paint, shown, transferred / 1000, len(fetched))


async def _listed(platform: LocalPlatform, browser: Browser, size: int) -> None:
    """Wait until the console's list has the whole fleet."""
    context, base = await _signed_in(platform, browser)
    page = await context.new_page()

    async def listed() -> bool:
        await page.goto(f"{base}/services")
        return f"{size} services" in (await page.locator(".lead").inner_text())

    await until_async(listed, f"{size} services", seconds=300)
    await context.close()


async def _on_screen(platform: LocalPlatform, browser: Browser, events: int) -> list[float]:
    """From when the platform says it paused the service to when a page that was open before shows so."""
    context, base = await _signed_in(platform, browser)
    page = await context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    await page.goto(f"{base}/services/{ORDERS}")
    delays = []
    async with platform.client() as bond:
        for number in range(events):
            reason = f"event {number}"
            watching = asyncio.create_task(page.evaluate(_WATCH, reason))
            await asyncio.sleep(0.1 + (number * 0.37) % 1)
            paused = (await bond.services.pause(ORDERS, reason=reason)).paused_at
            if not isinstance(paused, datetime):
                raise TypeError("the service is not paused")
            delays.append(float(await watching) - paused.timestamp() * 1000)
            await bond.services.resume(ORDERS)
    await context.close()
    return delays


@contextmanager
def platform_for(options: argparse.Namespace) -> Iterator[None]:
    """A platform with a service, an operation and a campaign; put where `measure` finds it."""
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch) / "data") as platform:
        platform.bond("promise", "publish", str(ROOT / "promises" / "sqlite-database"))
        platform.bond("service", "request", "sqlite-database", ORDERS, "--set", "contact=a@b.c", "--wait")
        file = Path(scratch) / "check.yaml"
        file.write_text(CAMPAIGN, encoding="utf-8")
        platform.bond("campaign", "run", "-f", str(file), "--wait")
        options.platform, options.scratch = platform, Path(scratch)
        yield


def main() -> None:
    """The command."""
    parser = report.parser(__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[100, 10_000], help="in the fleet")
    parser.add_argument("--rounds", type=int, default=5, help="views of each page (default: %(default)s)")
    parser.add_argument("--events", type=int, default=20, help="events on the screen (default: %(default)s)")
    parser.add_argument("--prefect", default="", help="the command of a peer (default: the one on PATH, if any)")
    options = parser.parse_args()
    report.run(options, measure, within=platform_for(options))


if __name__ == "__main__":
    main()
