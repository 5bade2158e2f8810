"""What Temporal keeps is sealed with keys that can be changed, and a codec server opens it for the UI alone."""

from __future__ import annotations

import io
import stat
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from google.protobuf.json_format import MessageToJson, Parse
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.converter import WorkflowSerializationContext
from temporalio.exceptions import ApplicationError

from bondstone.base.errors import KeyMissing, ObjectCorrupt, SettingsInvalid, ToolFailed
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId
from bondstone.store.crypto import KeyRing
from bondstone.temporal.failures import info_of, to_failure
from bondstone.temporal.payloads import BOUND, SealedPayloads, data_converter
from bondstone.workers import codec

TOKEN = "t" * 32
ORIGIN = "http://ui.example:8233"
SERVICE = ServiceId(team="payments", name="canary-4711")


@pytest.fixture
def ring_file(tmp_path):
    path = tmp_path / "payload-keys.json"
    KeyRing.load_or_create(path)
    return path


@pytest.fixture
def converter(ring_file):
    return data_converter(Settings(payload_keys=ring_file))


async def test_what_is_sealed_holds_no_plaintext_and_opens_again(converter):
    [sealed] = await converter.encode([SERVICE])
    assert b"canary" not in sealed.SerializeToString()
    assert await converter.decode([sealed], [ServiceId]) == [SERVICE]


async def test_messages_of_failures_are_sealed_too(converter):
    failure = Failure()
    await converter.encode_failure(ApplicationError("canary-4711 said no", type="REFUSED"), failure)
    assert b"canary" not in failure.SerializeToString()
    assert failure.application_failure_info.type == "REFUSED"
    assert "canary-4711" in str(await converter.decode_failure(failure))


def raised(error: Exception, cause: Exception) -> Exception:
    """The error with a stack, as something that failed hands it on."""
    try:
        try:
            raise cause
        except type(cause) as before:
            raise error from before
    except type(error) as after:
        return after


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_failure_in_words_has_no_stack_and_a_mistake_of_ours_has_one(ring_file, encrypted):
    converter = data_converter(Settings(payload_keys=ring_file if encrypted else None))
    told = ToolFailed("the subnet is taken", hint="choose another")
    for error, cause, has_stack in (
        (to_failure(told), told, False),
        (ApplicationError("list index out of range", type="IndexError"), IndexError("list index"), True),
    ):
        failure = Failure()
        await converter.encode_failure(raised(error, cause), failure)
        back = await converter.decode_failure(failure)
        assert isinstance(back, ApplicationError)
        assert (b"raise error from before" in failure.SerializeToString()) is has_stack
        assert failure.HasField("cause") is has_stack
    assert info_of(await decoded(converter, to_failure(told))) == told.info()


async def decoded(converter, error):
    failure = Failure()
    await converter.encode_failure(error, failure)
    return await converter.decode_failure(failure)


async def test_plain_payloads_of_before_pass(converter):
    plain = await data_converter(Settings()).encode([SERVICE])
    assert await converter.decode(plain, [ServiceId]) == [SERVICE]


async def test_after_a_rotation_old_keys_open_and_the_new_one_seals(ring_file, converter):
    old = await converter.encode([SERVICE])
    ring, key = KeyRing.load(ring_file).with_new_key()
    assert ring.active != key, "a new key opens first, everywhere, before it seals anywhere"
    ring.with_active(key).write(ring_file)
    assert stat.S_IMODE(ring_file.stat().st_mode) == 0o600
    after = data_converter(Settings(payload_keys=ring_file))
    [new] = await after.encode([SERVICE])
    assert key.encode() in new.data
    assert await after.decode([*old, new], [ServiceId, ServiceId]) == [SERVICE, SERVICE]
    with pytest.raises(KeyMissing, match=key):
        await converter.decode([new])


async def test_a_process_without_keys_says_so(converter):
    sealed = await converter.encode([SERVICE])
    with pytest.raises(KeyMissing) as raised:
        await data_converter(Settings()).decode(sealed)
    assert "BOND_PAYLOAD_KEYS" in raised.value.hint


async def test_a_payload_that_was_changed_does_not_open(converter):
    [sealed] = await converter.encode([SERVICE])
    sealed.data = sealed.data[:-1] + bytes([sealed.data[-1] ^ 1])
    with pytest.raises(ObjectCorrupt):
        await converter.decode([sealed])


def within(converter, workflow_id):
    return converter.with_context(WorkflowSerializationContext(namespace="default", workflow_id=workflow_id))


async def test_a_sealed_payload_opens_for_its_own_workflow_alone(converter):
    sealed = await within(converter, "service/a/one").encode([SERVICE])
    assert await within(converter, "service/a/one").decode(sealed, [ServiceId]) == [SERVICE]
    assert await converter.decode(sealed, [ServiceId]) == [SERVICE], "the codec server knows no workflow"
    with pytest.raises(KeyError, match="refused/not-sealed-for-this-workflow"):
        await within(converter, "service/a/two").decode(sealed, [ServiceId])


async def test_the_workflow_that_a_payload_is_bound_to_cannot_be_rewritten(converter):
    [sealed] = await within(converter, "service/a/one").encode([SERVICE])
    sealed.metadata[BOUND] = b"service/a/two"
    with pytest.raises(KeyError, match="refused/"):
        await within(converter, "service/a/two").decode([sealed], [ServiceId])
    with pytest.raises(ObjectCorrupt):
        await converter.decode([sealed], [ServiceId])
    del sealed.metadata[BOUND]
    with pytest.raises(KeyError, match="refused/"):
        await within(converter, "service/a/two").decode([sealed], [ServiceId])


async def test_a_payload_of_a_schedule_opens_in_its_runs_and_in_those_of_no_other(converter):
    sealed = await within(converter, "scheduled/nightly").encode([SERVICE])
    run = within(converter, "scheduled/nightly-2026-11-29T01:00:00Z")
    assert await run.decode(sealed, [ServiceId]) == [SERVICE]
    with pytest.raises(KeyError, match="refused/"):
        await within(converter, "scheduled/nightly-2-2026-11-29T01:00:00Z").decode(sealed, [ServiceId])


async def test_where_sealed_payloads_are_required_plain_and_unbound_ones_are_refused(ring_file, converter):
    strict = data_converter(Settings(payload_keys=ring_file, payloads_require_sealed=True))
    plain = await data_converter(Settings()).encode([SERVICE])
    unbound = await converter.encode([SERVICE])
    for refused in (plain, unbound):
        assert await within(converter, "service/a/one").decode(refused, [ServiceId]) == [SERVICE]
        with pytest.raises(KeyError, match="refused/"):
            await within(strict, "service/a/one").decode(refused, [ServiceId])
    bound = await within(strict, "service/a/one").encode([SERVICE])
    assert await within(strict, "service/a/one").decode(bound, [ServiceId]) == [SERVICE]


def test_sealed_payloads_cannot_be_required_without_keys():
    with pytest.raises(SettingsInvalid, match="no payload key ring"):
        data_converter(Settings(payloads_require_sealed=True))


def test_only_a_key_that_is_there_can_seal(ring_file):
    with pytest.raises(SettingsInvalid, match="has no key 'k-none'"):
        KeyRing.load(ring_file).with_active("k-none")


@pytest.fixture
async def server(ring_file) -> AsyncIterator[ClientSession]:
    app = codec.application(SealedPayloads(KeyRing.load(ring_file)), TOKEN, ORIGIN)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def encoded(converter) -> str:
    return MessageToJson(Payloads(payloads=await converter.encode([SERVICE])))


@pytest.mark.parametrize("how", ["header", "path"])
async def test_the_codec_server_opens_for_who_has_the_token(server, encoded, how):
    path = "/decode" if how == "header" else f"/{TOKEN}/decode"
    headers = {"Origin": ORIGIN, **({"Authorization": f"Bearer {TOKEN}"} if how == "header" else {})}
    answer = await server.post(path, data=encoded, headers=headers)
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Cache-Control"] == "no-store"
    [payload] = Parse(await answer.text(), Payloads()).payloads
    assert b"canary-4711" in payload.data


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/decode", {}, 401),
        ("/decode", {"Authorization": "Bearer wrong"}, 401),
        (f"/{'x' * 32}/decode", {}, 401),
        ("/decode", {"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}, 403),
        (f"/{TOKEN}/decode", {"Origin": "null"}, 403),
    ],
)
async def test_the_codec_server_opens_for_nobody_else(server, encoded, path, headers, status):
    answer = await server.post(path, data=encoded, headers=headers)
    assert answer.status == status
    assert "canary" not in await answer.text()
    assert answer.headers.get("Access-Control-Allow-Origin") in {None, ORIGIN}


async def test_a_page_of_the_ui_may_ask_first_whether_it_may(server):
    request = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    assert (await server.options("/decode", headers=request)).headers["Access-Control-Allow-Origin"] == ORIGIN
    assert (await server.options("/decode", headers={**request, "Origin": "http://evil.example"})).status == 403


@pytest.mark.parametrize(("body", "status"), [("nonsense", 400), ('{"payloads": [{"metadata": 1}]}', 400)])
async def test_what_is_no_payload_is_refused_in_words(server, body, status):
    answer = await server.post(f"/{TOKEN}/decode", data=body)
    assert answer.status == status


async def test_a_missing_key_is_said_in_words(server):
    [sealed] = await SealedPayloads(KeyRing.generate()).encode(await data_converter(Settings()).encode([SERVICE]))
    answer = await server.post(f"/{TOKEN}/decode", data=MessageToJson(Payloads(payloads=[sealed])))
    assert (answer.status, (await answer.text()).split(":")[0]) == (422, "KEY_MISSING")


async def test_what_is_too_large_is_refused(server):
    answer = await server.post(f"/{TOKEN}/decode", data=io.BytesIO(b"x" * (codec.MAX_BODY_BYTES + 1)))
    assert answer.status == 413


@pytest.mark.parametrize("token", ["", "short", "t" * 31 + "/"])
def test_it_does_not_start_without_a_token_worth_the_name(ring_file, token):
    with pytest.raises(SettingsInvalid, match="needs a token"):
        codec.prepare(Settings(payload_keys=ring_file), token)


def test_the_origin_is_that_of_the_ui_by_default(ring_file):
    with pytest.raises(SettingsInvalid, match="no payload keys"):
        codec.prepare(Settings(), TOKEN)
    _, host, port = codec.prepare(Settings(payload_keys=ring_file), TOKEN)
    assert (host, port) == ("127.0.0.1", 8234)
