"""The ledger forgets nothing and doubles nothing; logs are bounded, redacted, and readable while they grow."""

import asyncio
import base64
import html
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from obstore.store import MemoryStore

from bondstone.base.errors import AlreadyExists, NotFound, ObjectCorrupt, StoreUnavailable
from bondstone.base.redact import MASK, Redactor
from bondstone.model.attestation import PublicKeys
from bondstone.model.ledger import LedgerRecord
from bondstone.model.service import ServiceId
from bondstone.store import logs as logs_module
from bondstone.store.crypto import KeyRing
from bondstone.store.ledger import LedgerStore
from bondstone.store.ledger_verification import verify
from bondstone.store.logs import LogStore
from bondstone.store.objects import Objects
from bondstone.store.sealed import SealedObjects

SERVICE = ServiceId(team="payments", name="orders")
NEIGHBOUR = ServiceId(team="payments", name="orders-db")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def record(number: int, *, service: ServiceId = SERVICE, previous: str = "", reason: str = "") -> LedgerRecord:
    at = NOON + timedelta(days=40 * number)
    return LedgerRecord(
        kind="operation",
        service=service,
        sequence=f"op-{number}",
        at=at,
        by="ann",
        previous=previous,
        reason=reason,
    )


@pytest.fixture
def objects() -> Objects:
    return Objects(MemoryStore())


async def test_a_history_is_complete_in_order_and_chained(objects: Objects) -> None:
    ledger = LedgerStore(objects)
    previous, records = "", []
    for number in range(1, 13):
        records.append(record(number, previous=previous))
        entry = await ledger.record(records[-1])
        previous = entry.digest
        assert entry.digest == await ledger.last_digest(SERVICE)
    assert entry.key.startswith("ledger/2027/06/24/payments/orders/")
    await ledger.record(record(1, service=NEIGHBOUR))
    history = await ledger.history(SERVICE)
    assert history == records
    assert (await verify(objects, PublicKeys())).whole
    gone = [info.key for info in await objects.list("ledger") if info.key.endswith("op-4.json")]
    await objects.delete(*gone)
    [broken] = (await verify(objects, PublicKeys())).breaks
    assert (broken.chain, broken.record) == (str(SERVICE), gone[0])
    assert "it was removed" in broken.why
    await objects.put(gone[0], b"{}")
    assert "cannot be read" in (await verify(objects, PublicKeys())).breaks[0].why
    await objects.delete(*gone)
    assert await ledger.history(ServiceId(team="payments", name="none")) == []


async def test_the_same_record_again_changes_nothing(objects: Objects) -> None:
    ledger = LedgerStore(objects)
    first = await ledger.record(record(1))
    assert await ledger.record(record(1)) == first
    assert len(await ledger.history(SERVICE)) == 1
    with pytest.raises(AlreadyExists):
        await ledger.record(record(1, reason="another"))


async def test_a_record_that_was_spoilt_is_said(objects: Objects) -> None:
    ledger = LedgerStore(objects)
    entry = await ledger.record(record(1))
    await objects.put(entry.key, b"{}")
    with pytest.raises(ObjectCorrupt):
        await ledger.history(SERVICE)


async def test_a_retry_after_a_crash_between_record_and_index_completes_it(objects: Objects) -> None:
    ledger = LedgerStore(objects)
    await ledger.record(record(1))
    await objects.delete_prefix("ledger-index")
    await ledger.record(record(1))
    assert await ledger.history(SERVICE) == [record(1)]


# Redaction -----------------------------------------------------------------------------------------------


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_a_secret_is_not_in_the_text_in_any_spelling(secret: str, before: str, after: str) -> None:
    assume(len(secret.strip()) >= 4)
    redact = Redactor([secret])
    for spelling in (
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        json.dumps(json.dumps({"a": secret})),
        json.dumps(secret).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    ):
        bare = spelling.strip("\r\n")
        assert MASK in redact(before + bare + after)


@pytest.mark.parametrize("secret", ["hunter2!", "pâss wörd/+?&<x>'\"", "0123", 'two\nlines "of" it'])
@pytest.mark.parametrize("before", [b"", b"u", b"us", b"usr"])
def test_a_secret_is_masked_in_every_encoding(secret: str, before: bytes) -> None:
    redact = Redactor([secret])
    data = before + secret.encode() + b":tail"
    for encoded in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        assert MASK in redact(f"auth: {encoded}")
    written = {
        quote(secret), quote(secret, safe=""), quote_plus(secret), quote(secret).lower(), html.escape(secret),
        secret.encode().hex(), secret.encode().hex().upper(), secret.encode().hex(":"), repr(secret)[1:-1],
        secret.upper(), secret.lower(), json.dumps(secret)[1:-1].upper(),
    }  # fmt: skip
    for text in written:
        assert redact(f"x{text}y") == f"x{MASK}y"


def test_a_short_text_in_base64_keeps_what_is_around_it() -> None:
    assert Redactor(["hunter22"])("a aHVudGVyMjI= b") == f"a {MASK} b"


def test_a_wrapped_base64_is_masked_line_by_line() -> None:
    secret = "s3cret words " * 12
    for line in base64.encodebytes(secret.encode()).decode().splitlines():
        assert Redactor([secret])(line) == MASK


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    text = "first of two lines\nshort\nand the last of it\n"
    redact = Redactor([text])
    assert [redact(line) for line in ("first of two lines", "x short", json.dumps(text))] == [
        MASK,
        "x short",
        f'"{MASK}\\n"',
    ]


def test_every_line_of_a_pem_is_masked_the_short_last_one_too() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nAb==\n-----END KEY-----\n"
    redact = Redactor([key])
    assert [redact(line) for line in key.splitlines()] == [MASK] * 4
    assert redact("  MIIEvQIBADANBg") == f"  {MASK}"


def test_a_json_value_is_searched_in_texts_keys_and_numbers() -> None:
    redact = Redactor(["hunter22", "424242"])
    shown = {"a": ["x hunter22"], "HUNTER22": 424242, "n": 1, "t": True, "no": None}
    assert redact.masked(shown) == {"a": [f"x {MASK}"], MASK: MASK, "n": 1, "t": True, "no": None}
    assert redact.is_in(shown)
    assert redact.is_in({"deep": [{"hunter22": 1}]})
    assert not redact.is_in({"deep": [{"hunter": 1}]})


def test_the_longer_of_two_secrets_leaves_no_rest() -> None:
    assert Redactor(["hunter", "hunter22"])("hunter22 hunter") == f"{MASK} {MASK}"


def test_very_short_secrets_are_left_alone() -> None:
    assert Redactor(["", "1", "abc"])("abc 1") == "abc 1"


# Logs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def logs(objects: Objects) -> LogStore:
    return LogStore(SealedObjects(objects, KeyRing.generate()), flush_seconds=0.01)


async def test_a_log_is_read_as_it_was_written(logs: LogStore) -> None:
    async with logs.writer(SERVICE, 3, "database", "plan", "run 1", ["hunter22"]) as log:
        for line in ("one", "", "two\nthree", 'password="hunter22"'):
            log.write(line)
    assert [line async for line in logs.read(log.key)] == ["one", "", "two", "three", f'password="{MASK}"']
    async with logs.writer(SERVICE, 3, "database", "apply", "run 2", []) as later:
        later.write("x")
    assert [(info.key, info.step, info.verb, info.attempt) for info in await logs.list(SERVICE, 3)] == [
        (log.key, "database", "plan", "run 1"),
        (later.key, "database", "apply", "run 2"),
    ]
    assert await logs.list(SERVICE, 30) == []


async def test_a_log_is_followed_while_it_grows(logs: LogStore) -> None:
    text, ended = asyncio.Queue[str](), asyncio.Event()
    writer = logs.writer(SERVICE, 1, "db", "apply", "a1", [])

    async def follow() -> None:
        async for line in logs.follow(writer.key, ended.is_set):
            text.put_nowait(line)

    follower = asyncio.create_task(follow())
    async with writer:
        writer.write("one")
        assert await asyncio.wait_for(text.get(), 60) == "one"
        writer.write("two")
        assert await asyncio.wait_for(text.get(), 60) == "two"
        writer.write("last")
    ended.set()
    await asyncio.wait_for(follower, 60)
    assert text.get_nowait() == "last"


async def test_a_log_is_bounded_and_keeps_its_end(logs: LogStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "MAX_LOG_CHARS", 100)
    monkeypatch.setattr(logs_module, "MAX_TAIL_CHARS", 60)
    monkeypatch.setattr(logs_module, "MAX_LINE_CHARS", 8)
    async with logs.writer(SERVICE, 1, "db", "apply", "a1", []) as log:
        for number in range(100):
            log.write(f"line {number}")
        log.write("0123456789")
    lines = [line async for line in logs.read(log.key)]
    assert lines[0] == "line 0"
    assert lines[-1] == "01234567 ... 2 characters left out"
    assert any("lines left out" in line for line in lines)
    assert sum(map(len, lines)) < 300


async def test_a_secret_at_the_bound_of_a_line_does_not_lose_its_mask(
    logs: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_module, "MAX_LINE_CHARS", 8)
    async with logs.writer(SERVICE, 1, "db", "apply", "a1", ["hunter22secret"]) as log:
        log.write("12hunter22secret")
    assert "hunter" not in "".join([line async for line in logs.read(log.key)])


async def test_a_store_that_fails_for_a_while_loses_no_line(
    logs: LogStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, failures = logs._sealed.put, iter(range(3))

    async def flaky(key: str, data: bytes) -> None:
        await put(key, data)
        if next(failures, None) is not None:
            raise StoreUnavailable("no answer")

    monkeypatch.setattr(logs._sealed, "put", flaky)
    async with logs.writer(SERVICE, 1, "db", "apply", "a1", []) as log:
        for number in range(5):
            log.write(str(number))
            await asyncio.sleep(0.02)
    assert [line async for line in logs.read(log.key)] == list("01234")


async def test_a_log_that_is_not_there_is_said(logs: LogStore) -> None:
    for key in ("logs/payments/orders/000001/db/plan/a", "secrets/payments/orders"):
        with pytest.raises(NotFound):
            _ = [line async for line in logs.read(key)]
