"""A change that is sent again, since its API process died before it kept the answer, starts nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from platforms import LocalPlatform

from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from harness.waiting import wait_until

pytestmark = pytest.mark.integration

PATIENCE = 240
STRATEGY = """apiVersion: bondstone.dev/v1
kind: Strategy
metadata: {name: again, reason: to see how often it starts}
spec:
  operation: reconcile
  promise: patient
  select: {include: [again/nobody]}
  waves:
    - {name: rest, rest: true}
"""


@pytest.fixture(scope="module")
def api(platform: LocalPlatform) -> Iterator[httpx2.Client]:
    token = (platform.data / LOCAL_TOKEN_FILE).read_text(encoding="ascii").strip()
    headers = {"Authorization": f"Bearer {token}"}
    base = f"{platform.settings.api}/api/v1"
    with httpx2.Client(base_url=base, headers=headers, trust_env=False, timeout=PATIENCE) as client:
        yield client


def schedule(api: httpx2.Client, name: str) -> None:
    body = {"name": name, "source": STRATEGY, "cron": "0 1 * * *", "paused": True}
    answer = api.post("/schedules", json=body)
    assert answer.status_code == 201, answer.text


def twice(platform: LocalPlatform, api: httpx2.Client, path: str, body: Any) -> list[Any]:
    """The answers to a change and to the same again, of which the first was never kept."""
    answers = []
    for _ in range(2):
        answer = api.post(path, json=body, headers={"Idempotency-Key": f"again{path.replace('/', '-')}"})
        assert answer.is_success, answer.text
        answers.append(answer.json())
        shutil.rmtree(platform.data / "objects" / "kept-answers", ignore_errors=True)
    return answers


def history(api: httpx2.Client, name: str, kind: str) -> list[Any]:
    return [entry for entry in api.get(f"/schedules/{name}/history").json() if entry["kind"] == kind]


def test_a_trigger_that_is_sent_again_starts_one_campaign(platform, api):
    schedule(api, "again-now")
    first, again = twice(platform, api, "/schedules/again-now/trigger", {"reason": "to see"})
    assert first["campaign"].startswith("again-now-2")
    assert again == first
    second = first["campaign"].removeprefix("again-now-")  # names a campaign, and so only one is started in it
    wait_until(lambda: f"{datetime.now(UTC):%Y%m%d-%H%M%S}" > second, "the next second")
    other = api.post("/schedules/again-now/trigger", json={"overlap": "allow"}).json()["campaign"]
    assert other not in {first["campaign"], ""}, "another request is another campaign"
    assert [entry["campaign"] for entry in history(api, "again-now", "run")] == [first["campaign"], other]
    assert len(history(api, "again-now", "triggered")) == 2


def test_a_backfill_that_is_sent_again_runs_each_time_once(platform, api):
    schedule(api, "again-past")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    span = {"begin": (today - timedelta(days=2)).isoformat(), "end": today.isoformat(), "overlap": "allow"}
    first, again = twice(platform, api, "/schedules/again-past/backfill", span)
    assert len(first["times"]) == 2
    assert again == first
    runs = wait_until(lambda: len(history(api, "again-past", "run")) >= 2 and history(api, "again-past", "run"))
    assert len({entry["planned_at"] for entry in runs}) == len(runs) == 2
    assert len(history(api, "again-past", "backfilled")) == 1


def test_a_test_of_a_notification_that_is_sent_again_is_one_delivery(platform, api):
    body = {"name": "again", "url": "http://127.0.0.1:9/nobody-listens"}
    assert api.post("/notifications", json=body).status_code == 201
    first, again = twice(platform, api, "/notifications/again/test", None)
    assert again == first
    other = api.post("/notifications/again/test").json()
    assert other["event"] != first["event"]
    rows = wait_until(
        lambda: len(shown := api.get("/notifications/deliveries?subscription=again").json()) >= 2 and shown
    )
    assert {row["event"] for row in rows} == {first["event"], other["event"]}
    assert len(rows) == 2
    api.delete("/notifications/again")
