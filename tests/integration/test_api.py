"""The HTTP API as programs use it: a whole platform, its real API process, plain HTTP."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2 as httpx
import pytest
from platforms import PROMISES, LocalPlatform, api_refusals

from harness.waiting import wait_until

pytestmark = pytest.mark.integration

PATIENCE = 240


def headers(platform: LocalPlatform, **more: str) -> dict[str, str]:
    token = (platform.data / "api-token").read_text().strip()
    return {"Authorization": f"Bearer {token}", **more}


@pytest.fixture
def api(platform: LocalPlatform) -> Iterator[httpx.Client]:
    """A client with the token of the data directory: an administrator."""
    with httpx.Client(
        base_url=f"{platform.settings.api}/api/v1", headers=headers(platform), timeout=PATIENCE
    ) as client:
        yield client


def token(api: httpx.Client, name: str, *roles: str, scope: object = "everything") -> dict[str, str]:
    """The header of a new API token with these roles."""
    made = api.post("/tokens", json={"name": name, "grants": [{"roles": roles, "scope": scope}]})
    assert made.status_code == 201, made.text
    return {"Authorization": f"Bearer {made.json()['token']}"}


def refused(answer: httpx.Response, status: int, code: str) -> dict:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
        answer.text
    )
    problem = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["detail"]
    return problem


def requested(api: httpx.Client, service: str, promise: str = "plain", **inputs: object) -> dict:
    body = {"promise": promise, "service": service, "inputs": inputs}
    answer = api.post("/services", json=body, params={"wait": 30})
    assert answer.status_code == 202, answer.text
    return answer.json()


def test_a_service_from_request_to_decommission(api):
    operation = requested(api, "api/whole", "patient", size="medium")
    assert operation["status"] == "succeeded"
    assert operation["id"] == "api/whole/op/1"

    shown = api.get("/services/api/whole")
    assert shown.json()["phase"] == "ready"
    assert api.get("/services/api/whole", headers={"If-None-Match": shown.headers["etag"]}).status_code == 304
    assert api.get("/services/api/whole/outputs").json()["size"] == "medium"

    row = wait_until(lambda: [row for row in api.get("/services", params={"team": "api"}).json()["items"]
                         if row["id"] == "api/whole" and row["phase"] == "ready"])  # fmt: skip
    assert row[0]["promise"] == "patient"
    assert api.get("/fleet").json()["teams"]["api"] >= 1

    changed = api.post("/services/api/whole/update", json={"inputs": {"size": "small"}}, params={"wait": 30})
    assert changed.json()["status"] == "succeeded", changed.text
    assert [record["operation_kind"] for record in api.get("/services/api/whole/history").json()][:2] == [
        "provision",
        "update",
    ]
    plans = api.get("/operations/api/whole/op/2/plans").json()
    assert plans[0]["operation"] == "api/whole/op/2"

    gone = api.post("/services/api/whole/decommission", json={"reason": "done"}, params={"wait": 30})
    assert gone.json()["status"] == "succeeded", gone.text
    wait_until(lambda: "api/whole" not in [row["id"] for row in api.get("/services").json()["items"]])


def test_the_same_key_is_the_same_operation_and_with_another_body_is_refused_by_name(api, platform):
    body = {"promise": "plain", "service": "api/once", "inputs": {"size": "small"}}
    key = {"Idempotency-Key": "deploy-17"}
    first = api.post("/services", json=body, headers=key, params={"wait": 30})
    again = api.post("/services", json=body, headers=key)
    assert again.json()["id"] == first.json()["id"] == "api/once/op/1"
    other = api.post("/services", json={**body, "labels": {"tier": "prod"}}, headers=key)
    assert "deploy-17" in refused(other, 422, "KEY_REUSED")["detail"]
    [line] = api_refusals(platform, "KEY_REUSED")
    assert (line["path"], line["status"]) == ("/api/v1/services", 422)
    assert len(api.get("/services/api/once").json()["operations"]) == 1


def test_a_change_of_what_has_changed_since_it_was_read_is_refused(api, platform):
    requested(api, "api/moving")
    read = api.get("/services/api/moving").headers["etag"]
    first = api.post("/services/api/moving/labels", json={"set": {"tier": "prod"}}, headers={"If-Match": read})
    assert first.status_code == 200, first.text
    second = api.post("/services/api/moving/labels", json={"set": {"tier": "test"}}, headers={"If-Match": read})
    refused(second, 412, "CHANGED")
    path = "/api/v1/services/api/moving/labels"
    assert [line["status"] for line in api_refusals(platform, "CHANGED") if line["path"] == path] == [412]
    assert api.get("/services/api/moving").json()["labels"] == {"tier": "prod"}


def test_of_changes_under_one_etag_that_come_at_once_one_is_accepted(api):
    requested(api, "api/raced")
    etag = api.get("/services/api/raced").headers["etag"]

    def change(number: int) -> httpx.Response:
        return api.post(
            "/services/api/raced/update",
            json={"inputs": {"size": "small" if number % 2 else "large"}},
            headers={"If-Match": etag, "Idempotency-Key": f"raced-{number}"},
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(change, range(8)))
    [accepted] = [answer for answer in answers if answer.status_code == 202]
    for answer in answers:
        if answer is not accepted:
            refused(answer, 412, "CHANGED")
    assert len(api.get("/services/api/raced").json()["operations"]) == 2
    again = change(answers.index(accepted))
    assert again.json()["id"] == accepted.json()["id"], "what was accepted is answered again under its key"


def test_pages_put_together_are_the_list_and_a_cursor_belongs_to_its_list(api):
    for number in (1, 0, 2):
        requested(api, f"pages/s{number}")
    wait_until(lambda: len(api.get("/services", params={"team": "pages"}).json()["items"]) == 3)
    orders = {"-id": ["s2", "s1", "s0"], "created_at": ["s1", "s0", "s2"], "-created_at": ["s2", "s0", "s1"]}
    for sort, order in orders.items():
        names, cursor = [], ""
        while True:
            page = api.get(
                "/services", params={"team": "pages", "sort": sort, "limit": 1, "cursor": cursor}
            ).json()
            names += [row["name"] for row in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
            assert len(names) <= 3
            last = cursor
        assert names == order, sort
    refused(api.get("/services", params={"team": "pages", "cursor": last}), 400, "CURSOR_INVALID")
    chosen = api.get("/services", params={"where": "team == 'pages' && name == 's1'"}).json()["items"]
    assert [row["id"] for row in chosen] == ["pages/s1"]


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "UNAUTHENTICATED"),
        ("Basic YTpi", "UNAUTHENTICATED"),
        ("Bearer bond_000000000000_" + "x" * 43, "TOKEN_INVALID"),
        ("Bearer nonsense", "TOKEN_INVALID"),
        # {"alg":"none"} . {"sub":"ada"}
        ("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.", "TOKEN_UNSIGNED"),
    ],
)
def test_nobody_is_let_in_without_a_credential_that_is_accepted(api, authorization, code):
    answer = api.get("/services", headers={"Authorization": authorization})
    refused(answer, 401, code)
    assert "bond_0" not in answer.text
    assert answer.headers["www-authenticate"].startswith("Bearer")


OPEN = {"/api/v1/providers"}
"""What anybody may read."""


def test_every_address_but_the_open_ones_needs_a_credential(api):
    paths = api.get("/openapi.json").json()["paths"]
    assert len(paths) > 70
    with httpx.Client(base_url=str(api.base_url).removesuffix("/api/v1/")) as nobody:
        for path, item in paths.items():
            address = path.replace("{number}", "1").replace("{version}", "1").replace("{", "").replace("}", "")
            for method, operation in item.items():
                answer = nobody.request(method.upper(), address, json={})
                if operation.get("security") == []:  # needed before anybody can sign in
                    assert path in OPEN, path
                    continue
                assert answer.status_code in {401, 422}, f"{method} {path}: {answer.status_code}"
                if answer.status_code == 422:  # the body is looked at first; with one that fits it is 401
                    assert method in {"post", "put"}


def test_a_role_reaches_what_it_is_for_and_nothing_else(api):
    requested(api, "api/roles")
    viewer = token(api, "viewer", "viewer", scope={"teams": ["api"]})
    wait_until(lambda: api.get("/services/api/roles", headers=viewer).status_code == 200)
    problem = refused(api.post("/services/api/roles/pause", json={}, headers=viewer), 403, "FORBIDDEN")
    assert "operator" in problem["detail"]
    refused(
        api.post("/services", headers=viewer, json={"promise": "patient", "service": "api/x"}), 403, "FORBIDDEN"
    )
    refused(api.get("/services/api/roles/outputs?reveal=true", headers=viewer), 403, "FORBIDDEN")
    other = token(api, "stranger", "developer", scope={"teams": ["elsewhere"]})
    refused(api.get("/services/api/roles", headers=other), 403, "FORBIDDEN")
    assert api.get("/services", headers=other).json()["items"] == []
    assert api.get("/fleet", headers=other).json()["total"] == 0
    elevated = {"name": "elevated", "grants": [{"roles": ["admin"], "scope": "everything"}]}
    refused(api.post("/tokens", headers=viewer, json=elevated), 403, "FORBIDDEN")
    auditor = token(api, "auditor", "auditor", scope={"teams": ["api"]})
    refused(api.get("/refusals", headers=viewer), 403, "FORBIDDEN")
    [paused] = api.get("/refusals?text=service.pause", headers=auditor).json()["items"]
    assert (paused["by"], paused["target"], paused["count"]) == ("token:viewer", "api/roles", 1)
    first = api.get("/refusals?by=token:viewer&limit=1").json()
    more = api.get(f"/refusals?by=token:viewer&limit=500&cursor={first['next']}").json()
    whole = api.get("/refusals?by=token:viewer&limit=500").json()["items"]
    assert [*first["items"], *more["items"]] == whole
    assert {each["verb"] for each in whole} > {"service.request", "service.reveal", "POST /api/v1/tokens"}
    api.delete("/tokens/viewer")
    refused(api.get("/services/api/roles", headers=viewer), 401, "TOKEN_REVOKED")


def test_a_promise_is_published_by_upload_once_and_never_with_other_content(api, tmp_path):
    source = (PROMISES / "patient" / "promise.yaml").read_text().replace("name: patient", "name: uploaded")

    def archive(text: str) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for path in sorted((PROMISES / "patient").rglob("*")):
                if path.is_file() and path.name != "promise.yaml":
                    tar.add(path, f"./{path.relative_to(PROMISES / 'patient')}")
            entry = tarfile.TarInfo("./promise.yaml")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
        return gzip.compress(out.getvalue())

    kind = {"Content-Type": "application/gzip"}
    first = api.post("/promises", content=archive(source), headers=kind)
    assert (first.status_code, first.json()["published"]) == (201, True), first.text
    assert "bond-upload" not in first.text
    assert api.post("/promises", content=archive(source), headers=kind).json()["published"] is False
    other = source.replace("title: Patience", "title: Other")
    broken = api.post("/promises", content=archive(other), headers=kind)
    refused(broken, 409, "REVISION_CONFLICT")
    assert str(tmp_path.parent) not in broken.text
    assert "bond-upload" not in broken.text
    refused(api.post("/promises", content=b"nonsense", headers=kind), 422, "INVALID_INPUT")
    refused(api.post("/promises", content=b"", headers=kind), 422, "INVALID_INPUT")
    assert api.get("/promises/uploaded").json()["versions"]


def test_an_operation_and_its_logs_are_followed_to_their_end_and_resumed(api):
    body = {"promise": "patient", "service": "api/followed", "inputs": {"seconds": 1}}
    assert api.post("/services", json=body).status_code == 202
    recorded = list(events(api, "/operations/api/followed/op/1/events"))
    assert [event["event"] for event in recorded[-2:]] == ["operation", "end"]
    assert json.loads(recorded[-2]["data"])["status"] == "succeeded"
    assert len(recorded) >= 3, "states on the way were told too"
    ids = [event["id"] for event in recorded]
    # Once the tool has ended, a step looks as before its first sign of life, until the workflow hears of it.
    assert all(one != next_one for one, next_one in itertools.pairwise(ids)), "no state is told twice in a row"

    last = {"Last-Event-ID": recorded[-1]["id"]}
    assert api.get("/operations/api/followed/op/1/events", headers=last).status_code == 204
    resumed = list(events(api, "/operations/api/followed/op/1/events", **{"Last-Event-ID": recorded[-2]["id"]}))
    assert [event["event"] for event in resumed] == ["end"]

    whole = list(events(api, "/operations/api/followed/op/1/logs/events"))
    lines = [line for event in whole[:-1] for line in json.loads(event["data"])["lines"]]
    assert any("Apply complete" in line for line in lines)
    again = list(events(api, "/operations/api/followed/op/1/logs/events", **{"Last-Event-ID": whole[0]["id"]}))
    assert again == whole[1:]


def test_a_service_is_followed_over_a_new_connection_and_misses_no_change(api):
    requested(api, "api/resumed")
    path, labels = "/services/api/resumed/events", "/services/api/resumed/labels"
    first = next(events(api, path))
    assert api.post(labels, json={"set": {"turn": "one"}}).status_code == 200, "while nobody follows"
    second = next(events(api, path, **{"Last-Event-ID": first["id"]}))
    assert json.loads(second["data"])["labels"] == {"turn": "one"}
    with api.stream("GET", path, headers={"Last-Event-ID": second["id"]}) as resumed:
        assert next(events(api, path))["id"] == second["id"], "a client that is new hears the state that is known"
        assert api.post(labels, json={"set": {"turn": "two"}}).status_code == 200
        third = next(parsed(resumed))
    assert json.loads(third["data"])["labels"] == {"turn": "two"}, "and nothing twice"


def test_the_fleet_is_followed_over_a_new_connection_and_misses_no_change(api):
    for name in ("heard", "missed"):
        requested(api, f"fleet-events/{name}")
    stream = events(api, "/fleet/events")
    assert next(stream)["event"] == "fleet", "a client that is new hears the counts first"
    assert api.post("/services/fleet-events/heard/labels", json={"set": {"a": "b"}}).status_code == 200
    heard = next(event for event in stream if service_of(event) == "fleet-events/heard")
    stream.close()
    assert api.post("/services/fleet-events/missed/labels", json={"set": {"a": "b"}}).status_code == 200
    chosen = {"team": "fleet-events", "label": "a=b"}
    wait_until(lambda: len(api.get("/services", params=chosen).json()["items"]) == 2)
    again = events(api, "/fleet/events", **{"Last-Event-ID": heard["id"]})
    told = list(itertools.takewhile(lambda event: event["event"] == "service", again))
    assert service_of(told[-1]) == "fleet-events/missed"
    again.close()


def service_of(event: dict[str, str]) -> str:
    """The service that an event of the fleet is about; empty for the counts."""
    return json.loads(event["data"])["service"]["id"] if event["event"] == "service" else ""


CAMPAIGN = """apiVersion: bondstone.dev/v1
kind: Campaign
metadata: {name: followed, owner: ada, reason: to follow it}
spec:
  operation: reconcile
  promise: plain
  select: {include: [api/in-campaign]}
  waves:
    - {name: rest, rest: true}
"""


def test_a_campaign_is_followed_over_a_new_connection_to_its_end(api):
    requested(api, "api/in-campaign")
    answer = api.post("/campaigns", json={"source": CAMPAIGN})
    assert answer.is_success, answer.text
    path = "/campaigns/followed/events"
    first = next(events(api, path))
    rest = list(events(api, path, **{"Last-Event-ID": first["id"]}))
    ids = [event["id"] for event in (first, *rest)]
    assert len(set(ids)) == len(ids), "nothing twice"
    assert rest[-1]["event"] == "end"
    assert json.loads([first, *rest][-2]["data"])["status"] == "completed"
    assert api.get(path, headers={"Last-Event-ID": rest[-1]["id"]}).status_code == 204


def events(api: httpx.Client, path: str, **more: str) -> Iterator[dict[str, str]]:
    """The events of a stream until it ends."""
    with api.stream("GET", path, headers=more) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        yield from parsed(stream)


def parsed(stream: httpx.Response) -> Iterator[dict[str, str]]:
    """The events of a stream that is open."""
    event: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line and "event" in event:
            yield event
        if not line:
            event = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            event[name] = value
