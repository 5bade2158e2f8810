"""What a stock Backstage shows while a side is away: what it showed before, and words where something fails."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator

import pytest
from lane import PARTS, sqlite_form

from harness.api_process import ApiProcess
from harness.servers.backstage.configuration import bondstone_settings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

READ = ("promises", "teams", "services-0")
SCHEMA = """\
      tree: {$ref: "#/$defs/tree"}
      choice: {type: string, enum: [a, b], if: {const: a}, then: {minLength: 1}}
"""
DEFINITIONS = """\
    $defs: {tree: {type: object, properties: {child: {$ref: "#/$defs/tree"}}}}
"""


@pytest.fixture
def service(pair) -> Iterator[str]:
    """A service that the catalog shows as ready."""
    pair.until(lambda: pair.backstage.entity("template:default/sqlite-database"), what="the template")
    if pair.platform.bond("service", "show", "payments/kept", status=None).returncode:
        pair.platform.bond(
            "service", "request", "sqlite-database", "payments/kept", "--set", "contact=a@b.c", "--wait"
        )
    pair.until(lambda: lifecycle(pair, "kept") == "ready", what="the service in the catalog")
    yield "payments/kept"
    pair.wire.mode, pair.wire.target = "open", pair.platform.settings.api
    pair.refresh(*READ)


def lifecycle(pair, name: str) -> str:
    entity = pair.backstage.entity(f"resource:default/payments.{name}")
    return entity["spec"]["lifecycle"] if entity else ""


def etags(pair) -> dict[str, str]:
    """Every entity that the feed describes, and in which state the catalog has it."""
    kinds = ("Template", "Component", "Resource", "Group")
    every = [entity for kind in kinds for entity in pair.backstage.entities(kind=kind)]
    return {f"{each['kind']}:{each['metadata']['name']}": each["metadata"]["etag"] for each in every}


def failed_reads(pair) -> int:
    return pair.backstage.server.log.read_text().count("Unable to read url")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("mode", ["closed", "unavailable", "half"])
def test_a_feed_that_fails_deletes_nothing(pair, mode):
    before, reads = etags(pair), failed_reads(pair)
    pair.wire.mode = mode
    pair.refresh(*READ)
    pair.until(lambda: failed_reads(pair) >= reads + len(READ), what="failed reads")
    status, log, _ = pair.backstage.create("sqlite-database", sqlite_form("away"))
    assert status == "failed", log
    assert set(etags(pair)) == set(before)

    pair.wire.mode = "open"
    pair.refresh(*READ)
    pair.until(lambda: not [each for each in pair.backstage.entities() if each.get("status")], what="no error")
    assert etags(pair) == before


@pytest.mark.usefixtures("service")
def test_without_temporal_the_feed_stays_and_a_task_says_why_it_failed(pair):
    before = pair.feed()
    temporal = pair.platform.pid("temporal")
    os.kill(temporal, signal.SIGSTOP)
    try:
        status, log, _ = pair.backstage.create("sqlite-database", sqlite_form("no-temporal"))
        assert status == "failed"
        assert "UNREACHABLE" in log
        assert pair.feed() == before
    finally:
        os.kill(temporal, signal.SIGCONT)
    pair.until(lambda: pair.backstage.create("bond-reconcile", check())[0] == "completed", seconds=180)


def check() -> dict:
    return {"service": "payments/kept", "reason": "after the fault"}


@pytest.mark.usefixtures("service")
def test_a_store_that_is_not_mounted_deletes_nothing(pair):
    """The directory is empty, as a mount point is without its file system: the worst that can be read."""
    before = etags(pair)
    objects, away = pair.platform.data / "objects", pair.platform.data / "objects.away"
    objects.rename(away)
    objects.mkdir()
    try:
        pair.until(lambda: pair.read_feed()["promises"].status_code == 503, what="a 503")
        reads = failed_reads(pair)
        pair.refresh(*READ)
        pair.until(lambda: failed_reads(pair) >= reads + 2, what="failed reads of promises and teams")
        status, log, _ = pair.backstage.create("sqlite-database", sqlite_form("no-store"))
        assert status == "failed"
        assert "sqlite-database" in log
        assert set(etags(pair)) == set(before)
    finally:
        shutil.rmtree(objects)
        away.rename(objects)
    pair.until(lambda: pair.read_feed()["promises"].status_code == 200, what="the store again")


@pytest.mark.usefixtures("service")
def test_a_promise_that_no_form_can_show_harms_no_other(pair, tmp_path):
    odd = shutil.copytree(pair.promises / "sqlite-database", tmp_path / "odd")
    manifest = odd / "promise.yaml"
    text = manifest.read_text().replace("name: sqlite-database", "name: odd", 1)
    text = text.replace("    properties:\n", f"{DEFINITIONS}    properties:\n{SCHEMA}", 1)
    manifest.write_text(text.replace("A SQLite database file", "An odd file", 1))
    pair.platform.bond("promise", "publish", str(odd))
    promise, _ = pair.until(lambda: pair.backstage.entity("component:default/promise.odd"), what="the promise")
    assert re.search("does not check: .*tree.child: a schema that refers to itself", description(promise))
    assert "choice: if" in description(promise)
    pair.until(lambda: pair.backstage.entity("template:default/odd"), what="its template")
    assert [each for each in pair.backstage.entities() if each.get("status")] == []
    status, log, _ = pair.backstage.create("odd", sqlite_form("odd", choice="a", tree={"child": {"child": {}}}))
    assert status == "completed", log


def description(entity: dict) -> str:
    return entity["metadata"]["description"]


@pytest.mark.usefixtures("service")
def test_two_api_processes_describe_the_same_and_nothing_flaps(pair):
    first = pair.platform.settings.api
    with ApiProcess(pair.platform, "api-2", {"BOND_API": first}) as other:
        pair.until(lambda: pair.feed() == pair.feed(other.url), what="both know all")
        pair.until(lambda: statuses_of_a_refresh(pair) == {304}, what="Backstage has read the last state")
        before = etags(pair)
        for target in (other.url, first, other.url):
            pair.wire.target = target
            assert statuses_of_a_refresh(pair) == {304}
        assert etags(pair) == before


def statuses_of_a_refresh(pair) -> set[int]:
    pair.wire.count_anew()
    pair.refresh(*READ)
    pair.until(lambda: pair.wire.traffic.statuses.total() >= len(READ), what="three reads")
    return set(pair.wire.traffic.statuses)


@pytest.mark.usefixtures("service")
def test_a_service_that_ended_leaves_the_catalog_when_its_day_is_over(pair):
    """The day is an hour of none: another API process, with another setting, serves the feed."""
    arguments = ("service", "request", "sqlite-database", "payments/gone", "--set", "contact=a@b.c", "--wait")
    pair.platform.bond(*arguments)
    pair.platform.bond("service", "decommission", "payments/gone", "--reason", "done", "--yes", "--wait")
    pair.until(lambda: lifecycle(pair, "gone") == "decommissioned", what="its end")
    settings = bondstone_settings(pair.url, pair.backstage.files, pages=1, ended_hours=0)
    with ApiProcess(pair.platform, "api-3", {"BOND_API": pair.platform.settings.api, **settings}) as later:
        pair.until(lambda: pair.read_feed(later.url)["services-0"].status_code == 200)
        pair.wire.target = later.url
        pair.refresh("services-0")
        pair.until(lambda: pair.backstage.entity("resource:default/payments.gone") is None, what="it has gone")
        assert lifecycle(pair, "kept") == "ready"
        orphans = [each for each in pair.backstage.entities() if "backstage.io/orphan" in str(each["metadata"])]
        assert orphans == []


def test_every_part_of_the_feed_is_one_that_the_catalog_reads(pair):
    assert {answer.status_code for answer in pair.read_feed().values()} == {200}
    assert set(PARTS) == {"catalog", *READ}
