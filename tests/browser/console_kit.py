"""What the tests of the console share: its promises and campaigns, and people who sign in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakKeyDictionary

import httpx2
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from harness.local_platform import LocalPlatform
from harness.waiting import wait_until

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=alert(1)>'\"--"
LABEL = "<b onerror=1>"
MARKDOWN = f"{HOSTILE} [a link](javascript:alert(1)) <script>alert(1)</script>"
TURNED = "quarter\u202edne\u200b"
ORDERS = "/services/payments/orders"
PAGES = (
    "/", "/catalogue", "/catalogue/sqlite-database", "/catalogue/sqlite-database/request",
    "/catalogue/web-server/request", "/services", ORDERS,
    f"{ORDERS}/operations/1", f"{ORDERS}/operations/1/log?step=database", "/approvals", "/campaigns",
    "/campaigns/look", "/new-campaign", "/calendar", "/publish", "/catalogue/web-server/compare", "/rules",
    "/ledger?service=payments/orders", "/ledger/refusals", "/notifications", "/platform", "/sign-in",
)  # fmt: skip
ECHOED = tuple(
    f"{path}{quote(HOSTILE)}"
    for path in (
        "/services?q=", "/services?where=", "/services?label=a%3D", "/ledger?by=", "/ledger?service=",
        f"{ORDERS}/operations/1/log?step=database&search=", "/ledger/refusals?caller=", "/sign-in?next=/",
        "/catalogue/", "/services/",
    )
)  # fmt: skip
"""Pages that show a part of their address."""


WCAG_22 = {"rules": {"target-size": {"enabled": True}}, "resultTypes": ["violations"]}
"""With its rule of WCAG 2.2; what passes is not described node by node, which takes more time than the checks."""
DRAWN = {
    "runOnly": {
        "type": "rule",
        "values": ["color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size"],
    },
    "resultTypes": ["violations"],
}
"""The rules about how a page is drawn; for the others a page in other colours and widths is the same page."""
LOOKS: tuple[tuple[int, Any, dict[str, Any]], ...] = ((1280, "light", WCAG_22), (390, "dark", DRAWN))
PROMISE = """\
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: {name}, version: {version}, title: {hostile}, owner: platform}}
spec:
  description: {markdown}
  inputs:
    type: object
    unevaluatedProperties: false
    properties:
      protocol: {{type: string, title: Protocol, description: {hostile}, enum: [tls12, tls13], default: tls13}}
    if: {{required: [protocol], properties: {{protocol: {{const: tls12}}}}}}
    then: {{properties: {{client: {{type: string, title: Old client}}}}}}
  outputs:
    library: {{value: "${{steps.server.outputs.library}}"}}
  steps:
    - id: server
      terraform:
        module: terraform/server
        variables: {{protocol: "${{inputs.protocol}}"}}
"""
MODULE = """\
variable "protocol" {{ type = string }}
resource "terraform_data" "server" {{
  input = "{version}"
  lifecycle {{
    precondition {{
      condition     = "{version}" == "1.0.0" || var.protocol != "tls12"
      error_message = "openssl 3.0.8 has no tls12"
    }}
  }}
}}
output "library" {{ value = terraform_data.server.output }}
"""
ACCESS = """\
apiVersion: bondstone.dev/v1
kind: Access
metadata: {{reason: for {role}s}}
spec:
  grants:
    - subjects: [{{group: platform}}]
      roles: [admin]
      scope: everything
    - subjects: [{{user: joe}}]
      roles: [{role}]
      scope: {{teams: [shop]}}
"""
CAMPAIGN = """\
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: patch-servers, owner: platform, reason: "CVE in openssl"}
spec:
  operation: patch
  promise: web-server
  to: latest-patch
  select: {where: "true"}
  waves:
    - {name: canary, where: "labels.ring == 'canary'", max_failures: 0}
    - {name: rest, rest: true, gate: {approval: {roles: [sre]}}}
  budget: {max_failures: 0}
  on_failure: pause
"""


def server(directory: Path, version: str, name: str = "web-server") -> Path:
    """The folder of a promise, whose first patch does not fit services that speak an old protocol."""
    module = directory / "terraform" / "server"
    module.mkdir(parents=True)
    words = {"hostile": json.dumps(HOSTILE), "markdown": json.dumps(MARKDOWN)}
    (directory / "promise.yaml").write_text(PROMISE.format(name=name, version=version, **words))
    (module / "main.tf").write_text(MODULE.format(version=version))
    return directory


def link(platform: LocalPlatform, name: str) -> str:
    """Where `bond open` leads a person: it signs them in once."""
    printed: str = json.loads(platform.bond("--as", name, "open", "--print", "-o", "json").stdout)["url"]
    return printed


def signed_in(platform: LocalPlatform, browser: Browser, name: str, **options: Any) -> tuple[Page, str]:
    """A page in a browser of its own, signed in as a person, and the address of the console."""
    url = link(platform, name)
    page = page_of(browser, name, **options)
    assert page.request.get(url).ok  # with the browser's cookies; the page behind it is not drawn
    return page, url.partition("/sign-in")[0]


def page_of(browser: Browser, name: str, **options: Any) -> Page:
    """The page of somebody who is not signed in. Tests take turns with it: a new one takes a second of CPU."""
    pages = _pages.setdefault(browser, {})
    key = f"{name} {options}"
    if key not in pages:
        pages[key] = browser.new_context(**options).new_page()
        pages[key].set_default_timeout(180_000)
    page = pages[key]
    page.context.clear_cookies()
    page.set_viewport_size({"width": 1280, "height": 720})
    page.emulate_media(color_scheme="light")
    return page


_pages: Final[WeakKeyDictionary[Browser, dict[str, Page]]] = WeakKeyDictionary()


def until_it_serves(base: str) -> None:
    """Wait until the API process answers that the supervisor starts in the place of one that is gone."""
    wait_until(
        lambda: httpx2.get(f"{base}/healthz", trust_env=False, timeout=60).raise_for_status(),
        "the API serves",
        not_yet=(httpx2.HTTPError,),
    )


def violations_of(page: Page, options: dict[str, Any] = WCAG_22) -> list[dict[str, Any]]:
    """What axe finds, its rule of WCAG 2.2 too, which it leaves out by default."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    violations: list[dict[str, Any]] = page.evaluate("options => axe.run(options)", options)["violations"]
    return violations


def assert_harmless(page: Page) -> None:
    """Nothing that a person filled in has become a part of the page."""
    dangerous = page.locator("[onerror], main script, a[href^='javascript:' i], img[src='x']")
    assert dangerous.count() == 0, page.url


def to_button(page: Page, name: str) -> None:
    """Press Tab until a button has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == name:
            return
    raise AssertionError(f"Tab does not reach {name}")


WATCH = """words => {
  const observer = new MutationObserver(() => {
    if (document.querySelector('.lead').textContent.includes(words)) {
      window.shownAt = Date.now();
      observer.disconnect();
    }
  });
  observer.observe(document.body, {childList: true, subtree: true, characterData: true});
}"""
