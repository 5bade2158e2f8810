"""A Backstage without actions: templates call the API through its proxy, as the person who is signed in."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lane import rows_with, sqlite_form

from harness.api_process import ApiProcess
from harness.servers.backstage.configuration import bondstone_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

CANARY = "canary-Xp19cVb6"
TEMPLATE = "template:default/sqlite-database"


def action(pair) -> str:
    """What the first step of a template calls."""
    template = pair.backstage.entity(TEMPLATE)
    return template["spec"]["steps"][0]["action"] if template else ""


@pytest.fixture(scope="module")
def proxied(pair) -> Iterator[object]:
    pair.until(lambda: action(pair) == "bondstone:request-service", what="the template")
    settings = bondstone_settings(pair.url, pair.backstage.files, pages=1, proxy="/bondstone")
    with ApiProcess(pair.platform, "api-4", {"BOND_API": pair.platform.settings.api, **settings}) as api:
        pair.until(lambda: pair.read_feed(api.url)["promises"].status_code == 200)
        pair.wire.target = api.url
        try:
            pair.refresh("promises")
            pair.until(lambda: action(pair) == "http:backstage:request", what="templates for the proxy")
            yield pair
        finally:
            pair.wire.target = pair.platform.settings.api
            pair.refresh("promises")
            pair.until(lambda: action(pair) == "bondstone:request-service", what="templates as before")


def test_a_service_is_requested_updated_and_taken_down_as_the_person(proxied):
    proxied.wire.count_anew()
    form = sqlite_form("proxied")
    status, log, output = proxied.backstage.create("sqlite-database", form, {"adminPassword": CANARY})
    assert status == "completed", log
    assert any("/services/payments/proxied" in link.get("url", "") for link in output["links"])
    paths = [path.rpartition("/v1/actions/")[2] for path in proxied.wire.traffic.requests]
    assert "request-service/invoke" in paths, paths
    assert CANARY not in log
    assert rows_with(proxied.folder / "tables", CANARY) == []
    assert CANARY not in proxied.backstage.server.log.read_text()
    shown = json.loads(proxied.platform.bond("service", "show", "payments/proxied", "-o", "json").stdout)
    assert (shown["phase"], shown["created_by"]) == ("ready", "ada@example.com")

    values = {"service": "payments/proxied", "reason": "larger", "inputs": {"size": "medium"}}
    status, log, _ = proxied.backstage.create("bond-update.sqlite-database", values)
    assert status == "completed", log
    status, log, _ = proxied.backstage.create("bond-decommission", {"service": "payments/proxied", "reason": "x"})
    assert status == "completed", log


def test_a_refusal_is_in_the_tasks_log_in_words_there_too(proxied):
    elsewhere = {**sqlite_form("elsewhere"), "team": "group:default/data-platform"}
    status, log, _ = proxied.backstage.create("sqlite-database", elsewhere)
    assert status == "failed"
    assert "FORBIDDEN: service.request" in log
