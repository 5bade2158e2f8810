"""Agents: the protocol's own client against `/mcp` of a real API process, and against `bond mcp`."""

from __future__ import annotations

import os
import re
import sys
from contextlib import asynccontextmanager
from types import SimpleNamespace
from urllib.parse import urlencode

import httpx2
import pytest
from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from platforms import LocalPlatform
from starlette.requests import Request

from bondstone.console.campaigns import campaigns
from bondstone.console.session import Visitor
from bondstone.identity.access import Access, Permissions, permissions_of
from bondstone.model.identity import Principal, Roles, Scope

pytestmark = pytest.mark.integration

READS = {
    "who_am_i", "list_promises", "show_promise", "list_services", "show_service", "explain", "show_operation",
    "read_plan", "read_logs", "service_history", "list_approvals", "list_campaigns", "preview_campaign",
    "wait_operation",
}  # fmt: skip
CHANGES = {"preview_request", "preview_change", "request_service", "change_service"}


def own_token(platform: LocalPlatform) -> str:
    return (platform.data / "api-token").read_text().strip()


def token(platform: LocalPlatform, name: str, *roles: str, scope: object = "everything") -> str:
    """An API token with these roles."""
    made = httpx2.post(
        f"{platform.settings.api}/api/v1/tokens",
        json={"name": name, "grants": [{"roles": roles, "scope": scope}]},
        headers={"Authorization": f"Bearer {own_token(platform)}"},
    )
    assert made.status_code == 201, made.text
    return made.json()["token"]


@asynccontextmanager
async def agent(platform: LocalPlatform, credential: str, mode: str = "auto"):
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        transport = streamable_http_client(f"{platform.settings.api}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def data(client: Client, tool: str, **arguments: object):
    answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    assert "is an instruction" in answer.structured_content["notice"]
    return answer.structured_content["data"]


async def refusal(client: Client, tool: str, **arguments: object) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.is_error, answer.structured_content
    return answer.content[0].text


def inputs(**more: object) -> dict:
    return {"seconds": 0, **more}


@pytest.mark.parametrize(
    ("mode", "revision"), [("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")]
)
async def test_the_tools_say_which_of_them_change_something_and_none_approves(platform, mode, revision):
    async with agent(platform, token(platform, f"look-{mode}", "viewer"), mode) as client:
        assert client.protocol_version == revision
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == READS | CHANGES
        assert {name for name, tool in tools.items() if tool.annotations.read_only_hint} == READS
        assert tools["change_service"].annotations.destructive_hint
        assert not any("approve" in name or "reject" in name for name in tools)
        assert (await data(client, "who_am_i"))["subject"] == f"token:look-{mode}"
        assert "patient" in {row["promise"] for row in await data(client, "list_promises")}


async def test_an_agent_previews_requests_changes_and_takes_down_a_service(platform):
    credential = token(platform, "builder", "developer", scope={"teams": ["agents"]})
    async with agent(platform, credential) as client:
        wanted = {"promise": "patient", "service": "agents/first", "inputs": inputs()}
        preview = await data(client, "preview_request", **wanted)
        assert preview["operation"]["status"] == "succeeded"
        made = await data(client, "request_service", **wanted, preview=preview["preview"], reason="a test")
        ended = await data(client, "wait_operation", operation=made["id"])
        assert (ended["status"], ended["requested_by"]) == ("succeeded", "token:builder")
        again = await data(client, "request_service", **wanted, preview=preview["preview"], reason="a test")
        assert again["id"] == made["id"]  # one preview, one operation
        assert (await data(client, "show_service", service="agents/first"))["phase"] == "ready"
        explained = await data(client, "explain", subject="agents/first")
        assert explained["explanation"].startswith("agents/first is ready")
        assert await data(client, "read_logs", operation=made["id"], lines=5)

        change = {"service": "agents/first", "change": "decommission"}
        preview = await data(client, "preview_change", **change)
        gone = await data(client, "change_service", **change, preview=preview["preview"], reason="done")
        assert (await data(client, "wait_operation", operation=gone["id"]))["status"] == "succeeded"
        kinds = [
            record["operation_kind"] for record in await data(client, "service_history", service="agents/first")
        ]
        assert kinds[0] == "decommission"


CAMPAIGN = """
apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: look, reason: "a look", owner: agents}
spec:
  operation: reconcile
  promise: plain
  select: {where: "true"}
  waves: [{name: all, rest: true}]
"""


async def test_an_agent_that_only_reads_previews_a_campaign_and_starts_none(platform):
    platform.bond("service", "request", "plain", "agents/looked-at", "--wait")
    async with agent(platform, token(platform, "planner", "viewer")) as client:
        preview = await data(client, "preview_campaign", source=CAMPAIGN)
        assert (preview["name"], [wave["name"] for wave in preview["waves"]]) == ("look", ["all"])
        assert "look" not in {row["name"] for row in (await data(client, "list_campaigns"))["items"]}
        wrong = await refusal(client, "preview_campaign", source=CAMPAIGN.replace("waves", "wave"))
        assert "CAMPAIGN_INVALID" in wrong


async def test_a_preview_counts_only_the_services_that_its_caller_may_see(platform):
    """Over the API, for an agent, on the page and at the command line; so do its errors."""
    for service in ("agents/mine", "hidden/theirs"):
        platform.bond("service", "request", "plain", service, "--wait")
    source = CAMPAIGN.replace('where: "true"', "where: \"id in ['agents/mine', 'hidden/theirs']\"")
    only_theirs = CAMPAIGN.replace('where: "true"', "include: [hidden/theirs]")
    scope = {"teams": ["agents"]}
    reader = token(platform, "reader-of-one-team", "viewer", scope=scope)
    leader = token(platform, "operator-of-one-team", "operator", scope=scope)

    def posted(path: str, credential: str, text: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {credential}"}
        return httpx2.post(
            f"{platform.settings.api}/api/v1/campaigns{path}", json={"source": text}, headers=headers, timeout=60
        )

    whole = posted("/preview", own_token(platform), source).json()
    assert (whole["targets"], whole["waves"][0]["targets"], whole["scope"]) == (2, 2, "")
    part = posted("/preview", reader, source)
    assert "hidden" not in part.text
    assert (part.json()["targets"], part.json()["waves"][0]["targets"]) == (1, 1)
    assert part.json()["scope"].startswith("the services that you may see")
    async with agent(platform, reader) as client:
        told = await data(client, "preview_campaign", source=source)
    assert {**told, "as_of": "", "waves": []} == {**part.json(), "as_of": "", "waves": []}
    missing = posted("/preview", reader, only_theirs)
    absent = posted("/preview", reader, only_theirs.replace("theirs", "no-such"))
    assert missing.status_code == 422
    assert missing.text.replace("theirs", "no-such") == absent.text
    refused = posted("", leader, source)
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")
    assert "services outside your access" in refused.text
    assert "hidden" not in refused.text
    grants = (Roles(roles=("viewer",), scope=Scope(teams=("agents",))),)
    dana = Principal(subject="dana", means="oidc", grants=grants)
    page = await _previewed_on_the_page(platform, permissions_of(Access(), dana), source)
    assert "1 target<" in page
    assert "services that you may see" in page
    assert "/services/hidden/theirs" not in page
    platform.environment["BOND_TOKEN"] = reader
    try:
        (file := platform.data.parent / "scoped.yaml").write_text(source)
        shown = platform.bond("campaign", "preview", "-f", str(file)).stdout
    finally:
        del platform.environment["BOND_TOKEN"]
    assert re.search("^targets: +1$", shown, re.MULTILINE)
    assert "hidden" not in shown


async def _previewed_on_the_page(platform: LocalPlatform, permissions: Permissions, source: str) -> str:
    """What the console's page shows of a preview."""
    body = urlencode({"csrf": "token", "do": "preview", "manifest": source}).encode()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    scope = {
        "type": "http", "method": "POST", "path": "/campaigns", "query_string": b"",
        "headers": [(b"content-type", b"application/x-www-form-urlencoded")],
    }  # fmt: skip
    async with platform.client() as bond:
        visitor = Visitor(permissions.principal, permissions, "token", bond=bond, note=lambda _refusal: None)
        answer = await campaigns.submit(Request(scope, receive), visitor, SimpleNamespace())
    return bytes(answer.body).decode()


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18"])
def test_a_client_of_an_older_revision_is_answered_in_that(platform, revision):
    """The library's client speaks no revision before 2025-11-25 any more, so this is what such a client sends."""
    headers = {
        "Authorization": f"Bearer {token(platform, f'old-{revision}', 'viewer')}",
        "Accept": "application/json, text/event-stream",
    }
    about = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}

    def send(number: int, method: str, params: dict, **more: str) -> dict:
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        answer = httpx2.post(f"{platform.settings.api}/mcp", json=message, headers={**headers, **more}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    assert send(1, "initialize", about)["protocolVersion"] == revision
    version = {"MCP-Protocol-Version": revision}
    assert {tool["name"] for tool in send(2, "tools/list", {}, **version)["tools"]} == READS | CHANGES
    called = send(3, "tools/call", {"name": "who_am_i", "arguments": {}}, **version)
    assert f"token:old-{revision}" in called["content"][0]["text"]


async def test_a_change_needs_a_reason(platform):
    async with agent(platform, token(platform, "mute", "developer")) as client:
        change = {"service": "agents/none", "change": "decommission", "preview": "agents/none/op/1"}
        assert "reason" in await refusal(client, "change_service", **change)
        assert "reason" in await refusal(client, "change_service", **change, reason="")


async def test_what_was_not_previewed_as_it_is_does_not_happen(platform):
    credential = token(platform, "hasty", "developer", scope={"teams": ["agents"]})
    async with agent(platform, credential) as client:
        wanted = {"promise": "patient", "service": "agents/hasty", "inputs": inputs()}
        preview = (await data(client, "preview_request", **wanted))["preview"]
        other = {**wanted, "inputs": inputs(size="medium"), "preview": preview, "reason": "other inputs"}
        assert "the preview is of another change" in await refusal(client, "request_service", **other)
        async with agent(platform, token(platform, "thief", "developer", scope={"teams": ["agents"]})) as thief:
            stolen = await refusal(thief, "request_service", **wanted, preview=preview, reason="not mine")
            assert "another caller's" in stolen
        assert "NOT_FOUND" in await refusal(
            client, "request_service", **wanted, preview="agents/hasty/op/99", reason="made up"
        )


async def test_roles_and_scopes_hold_for_agents_too(platform):
    wanted = {"promise": "patient", "service": "elsewhere/one", "inputs": inputs()}
    async with agent(platform, token(platform, "reader", "viewer")) as client:
        assert "needs the role developer" in await refusal(client, "preview_request", **wanted)
    async with agent(platform, token(platform, "near", "developer", scope={"teams": ["agents"]})) as client:
        assert "FORBIDDEN" in await refusal(client, "preview_request", **wanted)


@pytest.mark.parametrize("credential", ["", "nonsense", "bond_0000_made-up"])
async def test_nobody_gets_in_without_a_credential(platform, credential):
    headers = {"Authorization": f"Bearer {credential}"} if credential else {}
    answer = httpx2.post(f"{platform.settings.api}/mcp", json={}, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_agent_on_this_machine_speaks_to_bond_mcp(platform):
    environment = {
        **os.environ,
        "BOND_API": platform.settings.api,
        "BOND_TOKEN": token(platform, "desk", "viewer"),
    }
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "bondstone.cli.app", "mcp"], env=environment
    )
    async with Client(stdio_client(server)) as client:
        assert (await data(client, "who_am_i"))["subject"] == "token:desk"
        wanted = {"promise": "patient", "service": "agents/none", "inputs": inputs()}
        assert "needs the role developer" in await refusal(client, "preview_request", **wanted)
