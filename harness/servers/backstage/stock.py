"""A stock Backstage that runs, and the browser of a person at it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from harness.pinned import ToolMissing
from harness.provider_pages import new_browser, signs_in
from harness.servers.backstage.configuration import ENVIRONMENT, Secrets, configuration
from harness.servers.backstage.packages import INSTALLED, NODE, missing
from harness.servers.process import Server
from harness.waiting import wait_until

START_SECONDS: Final = 180
TASK_SECONDS: Final = 180
ANSWER_SECONDS: Final = 60


class Backstage:
    """One that runs.

    Args:
        url: Where.
        folder: Of its configuration and log.
        files: What both sides know.
    """

    def __init__(self, url: str, folder: Path, files: Secrets) -> None:
        self.url = url
        self.files = files
        self.folder = folder
        self.server = Server("backstage", (), folder / "backstage.log", self._ready)
        self._client = httpx2.Client(base_url=url, timeout=ANSWER_SECONDS)
        self._token = ""

    def start(self, configuration: dict[str, Any], authority: Path | None = None) -> None:
        """Start it with a configuration, and wait until it serves.

        Args:
            configuration: The whole of it.
            authority: A certificate that it trusts beside the well-known ones.

        Raises:
            ToolMissing: its packages are not installed.
        """
        if words := missing():
            raise ToolMissing(words)
        path = self.folder / "app-config.json"
        path.write_text(json.dumps(configuration, indent=2))
        (self.folder / "package.json").write_text('{"name": "lane", "private": true}')  # it looks for one
        self.server.arguments = (str(NODE), str(INSTALLED / "index.js"), "--config", str(path))
        self.server.environment = {"NODE_OPTIONS": "--no-node-snapshot", "NODE_ENV": "production"}
        if authority is not None:
            self.server.environment = {**self.server.environment, "NODE_EXTRA_CA_CERTS": str(authority)}
        self.server.launch()
        self.server.wait(START_SECONDS)

    def _ready(self) -> bool:
        try:
            return self._client.get("/.backstage/health/v1/readiness").status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    def signs_in(self, login: str) -> bool:
        """Become a person of the provider, through Backstage's own sign-in.

        Args:
            login: At the provider.

        Returns:
            Whether Backstage knows somebody by that name; it learns its people after it has started.
        """
        query = f"env={ENVIRONMENT}&scope=openid+profile+email"
        with new_browser() as browser:
            signs_in(f"{self.url}/api/auth/oidc/start?{query}", login, browser=browser).raise_for_status()
            # As the pages do when they are loaded: the cookie for a token.
            header = {"X-Requested-With": "XMLHttpRequest"}
            answer = browser.get(f"{self.url}/api/auth/oidc/refresh?{query}", headers=header)
        if answer.is_error:
            return False
        self._token = str(answer.json()["backstageIdentity"]["token"])
        return True

    def person(self) -> dict[str, str]:
        """The header of the person who has signed in; of the guest where nobody has."""
        if not self._token:
            answer = self._client.get("/api/auth/guest/refresh").raise_for_status().json()
            self._token = str(answer["backstageIdentity"]["token"])
        return {"Authorization": f"Bearer {self._token}"}

    def entities(self, **wanted: str) -> list[dict[str, Any]]:
        """What the catalog has: `kind="Resource"`."""
        query = ",".join(f"{name.replace('__', '.')}={value}" for name, value in wanted.items())
        params = {"filter": query} if query else {}
        answer = self._client.get("/api/catalog/entities", params=params, headers=self.person())
        entities: list[dict[str, Any]] = answer.raise_for_status().json()
        return entities

    def entity(self, reference: str) -> dict[str, Any] | None:
        """One entity; None where there is none."""
        kind, _, rest = reference.partition(":")
        answer = self._client.get(f"/api/catalog/entities/by-name/{kind}/{rest}", headers=self.person())
        if answer.status_code == httpx2.codes.NOT_FOUND:
            return None
        entity: dict[str, Any] = answer.raise_for_status().json()
        return entity

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
        """Send something as the person."""
        return self._client.post(path, json=body, headers=self.person() if headers is None else headers)

    def create(
        self, template: str, values: dict[str, Any], secret: dict[str, str] | None = None
    ) -> tuple[str, str, dict[str, Any]]:
        """Send a template's form and follow its task.

        Args:
            template: Its name.
            values: Of the form.
            secret: Of its secret fields.

        Returns:
            How the task ended, its log, and its output.
        """
        body = {"templateRef": f"template:default/{template}", "values": values, "secrets": secret or {}}
        sent = self.post("/api/scaffolder/v2/tasks", body)
        if sent.is_error:
            return "refused", sent.text, {}
        task = sent.json()["id"]

        def ended() -> str:
            shown = self._client.get(f"/api/scaffolder/v2/tasks/{task}", headers=self.person())
            status: str = shown.raise_for_status().json()["status"]
            return "" if status in {"open", "processing"} else status

        status = wait_until(ended, f"the task of {template}", seconds=TASK_SECONDS)
        events = self._client.get(f"/api/scaffolder/v2/tasks/{task}/events", headers=self.person()).json()
        log = "\n".join(str(event["body"].get("message")) for event in events)
        outputs = [event["body"].get("output") for event in events if event["type"] == "completion"]
        return status, log, (outputs[-1] if outputs else None) or {}

    def close(self) -> None:
        """End it."""
        self._client.close()
        self.server.kill()


@contextmanager
def running(url: str, bond: str, folder: Path) -> Iterator[Backstage]:
    """One beside a platform, for as long as it is needed.

    Args:
        url: Where it is to be.
        bond: Bondstone's API.
        folder: Of its files; the secrets are made there before.
    """
    one = Backstage(url, folder, Secrets(folder))
    try:
        one.start(configuration(url, bond, one.files))
        yield one
    finally:
        one.close()
