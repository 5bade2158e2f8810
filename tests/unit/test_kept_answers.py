"""A change under a request id is carried out once, by whichever process gets it, and answered again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from bondstone.api.app import create_app
from bondstone.api.repeats import READS
from bondstone.base.data_directory import LOCAL_TOKEN_FILE
from bondstone.base.errors import KeyInUse, KeyReused
from bondstone.base.settings import Settings
from bondstone.store import kept_answers
from bondstone.store.crypto import KeyRing
from bondstone.store.kept_answers import KEPT, KeptAnswers
from bondstone.store.objects import Objects
from bondstone.store.sealed import SealedObjects
from harness.light_api import Listed, serving
from harness.waiting import until_async

GRANTS = [{"roles": ["viewer"], "scope": "everything"}]


@pytest.fixture
async def sealed() -> SealedObjects:
    return SealedObjects(await Objects.open("memory://"), KeyRing.generate())


async def carry_out(answers: KeptAnswers, key: str = "k", request: str = "r", caller: str = "ada") -> bytes:
    async with answers.attempt(caller, key, request) as attempt:
        if attempt.earlier is not None:
            return attempt.earlier.content
        attempt.answered(201, {}, b"new")
    return b"carried out"


async def test_another_process_answers_again_and_refuses_another_request(sealed):
    assert await carry_out(KeptAnswers(sealed)) == b"carried out"
    assert await carry_out(KeptAnswers(sealed)) == b"new"
    with pytest.raises(KeyReused, match="'k'"):
        await carry_out(KeptAnswers(sealed), request="another")
    assert await carry_out(KeptAnswers(sealed), caller="bob") == b"carried out", "another caller's key is another"


async def test_of_the_same_request_at_many_processes_one_is_carried_out(sealed):
    ways = await asyncio.gather(*(carry_out(KeptAnswers(sealed)) for _ in range(8)))
    assert sorted(ways) == [b"carried out", *[b"new"] * 7]


async def test_what_was_refused_is_carried_out_when_it_is_sent_again(sealed):
    answers = KeptAnswers(sealed)
    with pytest.raises(RuntimeError):
        async with answers.attempt("ada", "k", "r"):
            raise RuntimeError
    assert await carry_out(answers, request="another") == b"carried out"


async def test_a_request_waits_for_the_one_before_it_and_not_for_ever(sealed):
    answers = KeptAnswers(sealed, patience_seconds=0)
    async with answers.attempt("ada", "k", "r"):
        with pytest.raises(KeyInUse):
            await carry_out(answers)
        with pytest.raises(KeyReused):
            await carry_out(answers, request="another")


async def test_the_claim_of_a_process_that_died_is_taken_over(sealed):
    await KeptAnswers(sealed)._claim(f"kept-answers/{'0' * 64}", "k", "r")  # never renewed
    ticks = iter(range(0, 10_000, 6))
    patient = KeptAnswers(sealed, clock=lambda: float(next(ticks)), patience_seconds=1000)
    claim = await patient._claim(f"kept-answers/{'0' * 64}", "k", "r")
    assert str(claim).endswith("/0002")


async def test_a_claim_that_is_renewed_is_never_taken_over(sealed, monkeypatch):
    folder = f"kept-answers/{'0' * 64}"
    claim = str(await KeptAnswers(sealed)._claim(folder, "k", "r"))
    looks = []

    async def renew(seconds: float) -> None:
        """Stands for the pause between two looks, in which the first process renews its claim."""
        looks.append(seconds)
        await sealed.put(claim, await sealed.get(claim))

    monkeypatch.setattr(kept_answers, "asyncio", SimpleNamespace(sleep=renew))
    ticks = iter(range(0, 10_000, 6))
    other = KeptAnswers(sealed, clock=lambda: float(next(ticks)), patience_seconds=100)
    with pytest.raises(KeyInUse):
        await other._claim(folder, "k", "r")
    assert len(looks) > 10


async def test_an_answer_that_came_while_a_claim_was_taken_over_counts(sealed, monkeypatch):
    answers = KeptAnswers(sealed)
    take = answers._take

    async def take_late(folder: str, number: int, request: str) -> str | None:
        assert await carry_out(KeptAnswers(sealed)) == b"carried out"
        return await take(folder, number, request)

    monkeypatch.setattr(answers, "_take", take_late)
    assert await carry_out(answers) == b"new"


async def test_a_process_renews_its_claim_while_it_carries_the_request_out(sealed):
    async def renewed_at() -> list[datetime]:
        return [info.modified for info in await sealed.objects.list("kept-answers")]

    async with KeptAnswers(sealed, claim_seconds=0.1).attempt("ada", "k", "r"):
        first = await renewed_at()

        async def renewed() -> bool:
            return await renewed_at() != first

        await until_async(renewed, seconds=60)


async def test_answers_are_kept_sealed_for_a_day(sealed):
    answers = KeptAnswers(sealed)
    await carry_out(answers)
    [kept] = await sealed.objects.list("kept-answers")
    assert b"bmV3" not in await sealed.objects.get(kept.key)
    assert await answers.sweep(now=datetime.now(UTC) + KEPT - timedelta(minutes=1)) == 0
    assert await answers.sweep(now=datetime.now(UTC) + KEPT + timedelta(minutes=1)) == 1
    assert await carry_out(answers) == b"carried out"


def test_every_change_of_the_api_takes_a_key_and_no_read_does(tmp_path):
    paths = create_app(Settings(data=tmp_path), None).openapi()["paths"]
    takes = {
        operation["operationId"]: "Idempotency-Key" in [each["name"] for each in operation.get("parameters", ())]
        for item in paths.values() for method, operation in item.items() if method != "get"
    }  # fmt: skip
    assert {name for name, has_key in takes.items() if not has_key} == READS
    assert len(takes) > len(READS) + 50


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with serving(tmp_path_factory.mktemp("kept") / "data", Listed([])) as settings:
        yield settings


@pytest.fixture
def client(api: Settings) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {(api.data / LOCAL_TOKEN_FILE).read_text().strip()}"}
    with httpx2.Client(base_url=f"{api.api}/api/v1", trust_env=False, timeout=60, headers=headers) as one:
        yield one


def test_a_token_is_made_once_under_a_key_and_shown_again(client, api, capsys):
    key = {"Idempotency-Key": "make-1"}
    body = {"name": "once", "grants": GRANTS}
    first = client.post("/tokens", json=body, headers=key)
    again = client.post("/tokens", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert again.content == first.content
    assert again.headers["content-type"] == "application/json"
    other = client.post("/tokens", json={**body, "name": "other"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "KEY_REUSED")
    assert "code=KEY_REUSED" in capsys.readouterr().out
    elsewhere = client.delete("/tokens/once", headers=key)
    assert elsewhere.json()["code"] == "KEY_REUSED", "a key is for one address"
    assert [row["name"] for row in client.get("/tokens").json()] == ["once"]
    plain = b"".join(path.read_bytes() for path in Path(api.data, "objects").rglob("*") if path.is_file())
    assert json.loads(first.content)["token"].encode() not in plain


def test_a_refused_change_keeps_no_key(client):
    key = {"Idempotency-Key": "make-2"}
    assert client.post("/tokens", json={"name": "second"}, headers=key).status_code == 422
    assert client.post("/tokens", json={"name": "second", "grants": GRANTS}, headers=key).status_code == 201


def test_what_is_no_key_is_refused(client):
    answer = client.post("/tokens", json={"name": "third", "grants": GRANTS}, headers={"Idempotency-Key": "a b"})
    assert (answer.status_code, answer.json()["code"]) == (422, "INVALID_INPUT")


def test_nobody_is_answered_again_without_a_credential(client):
    key = {"Idempotency-Key": "make-4"}
    body = {"name": "fourth", "grants": GRANTS}
    assert client.post("/tokens", json=body, headers=key).status_code == 201
    answer = client.post("/tokens", json=body, headers={**key, "Authorization": ""})
    assert answer.status_code == 401
