"""The activity `promise.resolve`: what a request comes to for a service that stands already."""

from __future__ import annotations

import base64
import json

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from bondstone.activities.promise import PromiseActivities
from bondstone.base.errors import NotFound
from bondstone.base.settings import Settings
from bondstone.cel.templates import render
from bondstone.model.service import (
    OperationKind,
    Request,
    ResolveCall,
    RevisionRef,
    ServiceId,
    StepOutputs,
)
from bondstone.model.step import OutputsCall
from bondstone.promise.bundle import pack
from bondstone.promise.load import load_promise, parse_promise
from bondstone.promise.variables import variables_for
from bondstone.store import Store
from bondstone.temporal.failures import info_of

SERVICE = ServiceId(team="payments", name="orders")
MANIFEST = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: db, version: {version}}}
spec:
  inputs:
    type: object
    required: [password]
    properties:
      size: {{type: string, default: small}}
      password: {{type: string, writeOnly: true, minLength: 8}}
  steps: [{{id: database, terraform: {{module: terraform}}}}]
"""


async def publish(store: Store, directory, version: str) -> RevisionRef:
    directory.mkdir()
    (directory / "promise.yaml").write_text(MANIFEST.format(version=version), encoding="utf-8")
    return await store.revisions.publish(pack(directory), load_promise(directory))


@pytest.mark.parametrize(
    ("kind", "inputs", "version"),
    [
        (OperationKind.UPDATE, {"size": "large"}, "1.0.0"),
        (OperationKind.PATCH, {}, "1.0.1"),
        (OperationKind.UPGRADE, {}, "1.1.0"),
    ],
)
async def test_secrets_that_a_service_has_already_are_checked_and_stay_references(tmp_path, kind, inputs, version):
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    first = await publish(store, tmp_path / "first", "1.0.0")
    for later in ("1.0.1", "1.1.0"):
        await publish(store, tmp_path / later, later)
    password = await store.secrets.put(SERVICE, "inputs/password", "long enough")
    call = ResolveCall(
        service=SERVICE,
        request=Request(request_id="r", kind=kind, inputs=inputs),
        current=first,
        current_inputs={"size": "small", "password": password.as_json()},
    )
    resolution = await ActivityEnvironment().run(PromiseActivities(store).resolve, call)
    assert resolution.resolved.revision.version == version
    assert resolution.resolved.inputs == {"size": "small", "password": password.as_json()} | inputs


@pytest.mark.parametrize("first", [True, False])
async def test_no_new_service_is_of_a_team_that_is_called_as_campaigns_are(tmp_path, *, first):
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    revision = await publish(store, tmp_path / "first", "1.0.0")
    service = ServiceId(team="campaign", name="orders")
    password = await store.secrets.put(service, "inputs/password", "long enough")
    inputs = {"password": password.as_json()}
    request = Request(request_id="r", kind=OperationKind.PROVISION, promise="db", inputs=inputs)
    call = ResolveCall(
        service=service, request=request, first=first,
        current=None if first else revision,
    )  # fmt: skip
    resolving = ActivityEnvironment().run(PromiseActivities(store).resolve, call)
    if first:
        with pytest.raises(ApplicationError, match="a team cannot be called campaign") as refused:
            await resolving
        assert info_of(refused.value).code == "INVALID_INPUT"
    else:
        await resolving  # one that is there already stays


# Outputs -------------------------------------------------------------------------------------------------

SECRET = "c4nary-of-outputs"
SHOWING = """
apiVersion: bondstone.dev/v1
kind: Promise
metadata: {{name: shows, version: 1.0.0}}
spec:
  inputs: {{type: object, properties: {{password: {{type: string, writeOnly: true}}}}}}
  outputs:
    shown: {{value: '{value}'}}
  steps: [{{id: database, terraform: {{module: terraform}}}}]
"""


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("x-${inputs.password}", ""),
        ("${steps.database.outputs.it}", SECRET.upper()),
        ("${steps.database.outputs.it}", base64.b64encode(b"root:" + SECRET.encode()).decode()),
        ("${steps.database.outputs.it}", {"deep": [SECRET.encode().hex()]}),
        ("${steps.database.outputs.it}", {"$secret": "secrets/payments/orders/inputs/password/x", "more": 1}),
    ],
)
async def test_an_output_that_would_show_a_secret_fails_in_words_that_do_not(tmp_path, value, output):
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    folder = tmp_path / "shows"
    folder.mkdir()
    (folder / "promise.yaml").write_text(SHOWING.format(value=value), encoding="utf-8")
    revision = await store.revisions.publish(pack(folder), load_promise(folder))
    password = await store.secrets.put(SERVICE, "inputs/password", SECRET)
    call = OutputsCall(
        service=SERVICE,
        revision=revision,
        operation=1,
        kind=OperationKind.PROVISION,
        inputs={"password": password.as_json()},
        outputs={"database": StepOutputs(values={"it": output})},
    )
    with pytest.raises(ApplicationError) as caught:
        await ActivityEnvironment().run(PromiseActivities(store).outputs, call)
    assert caught.value.type == "EXPRESSION_INVALID"
    assert SECRET not in f"{caught.value} {caught.value.details}"


@pytest.mark.parametrize(
    ("kind", "wanted", "published", "hint"),
    [
        (OperationKind.PROVISION, "1.0.1", ("1.0.0", "1.1.0"), "request db@1.1.0"),
        (OperationKind.PROVISION, "1.0.1", (), "publish a newer version of db"),
        (OperationKind.PATCH, "1.0.1", ("1.0.0", "1.0.2"), "patch to db@1.0.2"),
        (OperationKind.PATCH, "1.0.1", ("1.0.0", "1.1.0"), "upgrade to db@1.1.0"),
        (OperationKind.PATCH, "1.0.1", ("1.0.0",), "publish a newer version of db; the service can stay on 1.0.0"),
    ],
)
async def test_the_hint_after_a_yank_names_what_can_be_had(tmp_path, kind, wanted, published, hint):
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    refs = {version: await publish(store, tmp_path / version, version) for version in (*published, "1.0.1")}
    await store.revisions.yank("db", "1.0.1", "it loses data", "ada")
    current = None if kind is OperationKind.PROVISION else refs["1.0.0"]
    request = Request(request_id="r", kind=kind, promise="db", version=wanted)
    call = ResolveCall(service=SERVICE, request=request, current=current)
    with pytest.raises(ApplicationError, match="was yanked: it loses data") as caught:
        await ActivityEnvironment().run(PromiseActivities(store).resolve, call)
    assert info_of(caught.value).hint == hint


async def test_what_is_named_when_a_version_is_missing_can_be_had(tmp_path):
    store = await Store.open(Settings(data=tmp_path), create_keys=True)
    for version in ("1.0.0", "1.0.1"):
        await publish(store, tmp_path / version, version)
    await store.revisions.yank("db", "1.0.1", "no", "ada")
    with pytest.raises(NotFound) as caught:
        await store.revisions.get("db", "9.9.9")
    assert caught.value.hint == "there is 1.0.0"
    await store.revisions.yank("db", "1.0.0", "no", "ada")
    with pytest.raises(NotFound) as caught:
        await store.revisions.newest("db")
    assert caught.value.hint == "publish a newer one"


@pytest.mark.parametrize(
    ("inputs", "observed"), [(2**53 + 1, 2**53 + 1), (2**70, 2**70), (10**400, 10**400), (3, 3.0)]
)
def test_a_number_is_passed_on_as_it_is(inputs, observed):
    text = MANIFEST.format(version="1.0.0").replace("{type: string, default: small}", "{type: number}")
    variables = variables_for(
        parse_promise(text.encode()),
        service=SERVICE,
        labels={},
        kind=OperationKind.PROVISION,
        inputs={"size": inputs},
        outputs={},
    )
    assert render({"n": "${inputs.size}"}, variables) == {"n": observed}
    assert json.dumps(render({"n": "${inputs.size}"}, variables)) == json.dumps({"n": observed})
    if observed == 2**53 + 1:
        assert render("n=${inputs.size}", variables) == f"n={observed}"
