"""A developer who knows only Backstage: a stock backend, configured as the how-to says, beside a real platform."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from lane import rows_with, sqlite_form
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

SQLITE = Path(__file__).parents[2] / "promises" / "sqlite-database"
CANARY = "canary-Kx81mQz7"


def ready(pair, name: str):
    entity = pair.backstage.entity(f"resource:default/payments.{name}")
    return entity if entity and entity["spec"]["lifecycle"] == "ready" else None


def test_the_catalog_has_the_promises_as_templates_and_no_error(pair):
    wanted = {"sqlite-database", "bond-update.sqlite-database", "bond-patch", "bond-decommission"}
    pair.until(lambda: wanted <= {each["metadata"]["name"] for each in pair.backstage.entities(kind="Template")})
    pair.until(lambda: pair.backstage.entity("component:default/promise.sqlite-database"))
    every = pair.backstage.entities()
    broken = [entity["metadata"]["name"] for entity in every if entity.get("status")]
    assert broken == []
    orphans = [each for each in every if each["metadata"]["annotations"].get("backstage.io/orphan")]
    assert orphans == []
    log = pair.backstage.server.log.read_text()
    assert "Policy check failed" not in log


def test_a_service_from_request_to_decommission(pair):
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"), what="the template")
    pair.until(lambda: pair.backstage.entity("user:default/ada"))
    status, log, output = pair.backstage.create(
        "sqlite-database", sqlite_form("orders"), {"adminPassword": CANARY}
    )
    assert status == "completed", log
    assert CANARY not in log
    assert rows_with(pair.folder / "tables", CANARY) == []
    assert CANARY not in "".join(pair.feed().values())
    assert CANARY not in pair.backstage.server.log.read_text()
    assert any("/services/payments/orders" in link.get("url", "") for link in output["links"])
    service = json.loads(pair.platform.bond("service", "show", "payments/orders", "-o", "json").stdout)
    assert (service["phase"], service["created_by"]) == ("ready", "ada@example.com")

    entity, _ = pair.until(lambda: ready(pair, "orders"), what="the service in the catalog")
    assert entity["spec"]["owner"] == "group:default/payments"
    assert entity["spec"]["type"] == "sqlite-database"
    assert {link["title"] for link in entity["metadata"]["links"]} >= {"Console", "Patch", "Decommission"}
    assert {relation["type"] for relation in entity["relations"]} >= {"ownedBy", "dependsOn"}

    values = {"service": "resource:default/payments.orders", "reason": "larger", "inputs": {"size": "medium"}}
    status, log, _ = pair.backstage.create("bond-update.sqlite-database", values)
    assert status == "completed", log
    service = json.loads(pair.platform.bond("service", "show", "payments/orders", "-o", "json").stdout)
    assert service["inputs"]["size"] == "medium"

    status, log, _ = pair.backstage.create("bond-decommission", {"service": "payments/orders", "reason": "done"})
    assert status == "completed", log
    gone, _ = pair.until(lambda: phase(pair, "orders") == "decommissioned" or None, what="its end in the catalog")
    assert gone


def phase(pair, name: str) -> str:
    entity = pair.backstage.entity(f"resource:default/payments.{name}")
    return entity["spec"]["lifecycle"] if entity else ""


def test_a_patch_is_a_template_too(pair, tmp_path):
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"))
    status, log, _ = pair.backstage.create("sqlite-database", sqlite_form("patched"))
    assert status == "completed", log
    values = {"service": "payments/patched", "reason": "newest"}
    status, log, _ = pair.backstage.create("bond-patch", values)
    assert status == "failed"
    assert "there is no newer patch of sqlite-database@1.0.0" in log

    newer = shutil.copytree(SQLITE, tmp_path / "sqlite-database")
    manifest = newer / "promise.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    pair.platform.bond("promise", "publish", str(newer))
    status, log, _ = pair.backstage.create("bond-patch", values)
    assert status == "completed", log
    shown = pair.platform.bond("service", "show", "payments/patched", "-o", "json").stdout
    assert json.loads(shown)["revision"] == "sqlite-database@1.0.1"


def test_a_refusal_is_in_the_tasks_log_in_words(pair):
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"))
    elsewhere = {**sqlite_form("elsewhere"), "team": "group:default/data-platform"}
    status, log, _ = pair.backstage.create("sqlite-database", elsewhere)
    assert status == "failed"
    assert "FORBIDDEN: service.request" in log
    assert "needs the role developer" in log
    wrong = sqlite_form("wrong", contact="nobody")
    status, log, _ = pair.backstage.create("sqlite-database", wrong)
    assert status == "refused"  # Backstage's own check of the form
    assert "does not match pattern" in log


def test_a_change_shows_in_seconds(pair):
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"))
    pair.platform.bond(
        "service", "request", "sqlite-database", "payments/quick", "--set", "contact=a@b.c", "--wait"
    )
    _, seconds = pair.until(lambda: ready(pair, "quick"), seconds=60, what="the service")
    assert seconds < 30  # two to four even on a busy machine; 100 and more when Backstage has to find it by itself


async def test_an_agent_at_backstage_lists_and_explains_and_changes_nothing(pair):
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"))
    pair.platform.bond(
        "service", "request", "sqlite-database", "payments/explained", "--set", "contact=a@b.c", "--wait"
    )
    async with agent(pair, {"Authorization": f"Bearer {pair.backstage.files.agent}"}) as tool:
        listed = await tool("list-services", {})
        assert "payments/explained" in listed
        explained = await tool("explain-service", {"service": "payments/explained"})
        assert "payments/explained" in explained
        assert "ready" in explained
        wanted = {"promise": "sqlite-database", "team": "payments", "name": "agents", "inputs": {}}
        assert "nobody is signed in" in await tool("request-service", wanted)
        taken_down = {"service": "payments/explained", "verb": "decommission", "reason": "an agent"}
        assert "nobody is signed in" in await tool("operate", taken_down)
    assert pair.platform.bond("service", "show", "payments/agents", status=None).returncode != 0


async def test_an_agent_of_a_person_does_what_the_person_may(pair):
    """With the person's own token at Backstage's MCP server, the calls carry the person."""
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"))
    async with agent(pair, pair.backstage.person()) as tool:
        wanted = {"promise": "sqlite-database", "name": "by-agent", "inputs": {"contact": "ada@example.com"}}
        assert "was accepted" in await tool("request-service", {**wanted, "team": "payments"})
        assert "needs the role developer" in await tool("request-service", {**wanted, "team": "data-platform"})
    shown = pair.platform.bond("service", "show", "payments/by-agent", "-o", "json").stdout
    assert json.loads(shown)["created_by"] == "ada@example.com"


@asynccontextmanager
async def agent(pair, headers: dict[str, str]) -> AsyncIterator[Callable[[str, dict], Awaitable[str]]]:
    """A client of Backstage's own MCP server; calls a tool of the platform by its name."""
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{pair.url}/api/mcp-actions/v1", http_client=http)
        async with Client(transport, mode="legacy") as client:
            names = [tool.name for tool in (await client.list_tools()).tools]

            async def call(name: str, action_input: dict) -> str:
                tool = next(each for each in names if each.endswith(name))
                return (await client.call_tool(tool, action_input)).content[0].text

            yield call


def test_nobody_reads_the_feed_without_its_secret_or_calls_without_a_token(pair):
    secret = pair.backstage.files.feed.read_text()
    with httpx2.Client(base_url=f"{pair.platform.settings.api}/backstage", timeout=60) as client:
        assert client.get(f"/v1/{'x' * 43}/catalog.yaml").status_code == 404
        assert client.get("/.backstage/actions/v1/actions").status_code == 401
        for part in ("catalog", "promises", "teams", "services-0"):
            read = client.get(f"/v1/{secret}/{part}.yaml")
            assert read.status_code == 200
            again = client.get(f"/v1/{secret}/{part}.yaml", headers={"If-None-Match": read.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert "ada@example.com" not in read.text
