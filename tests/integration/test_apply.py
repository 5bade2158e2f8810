"""`bond apply`, `diff` and `export` on a real platform, over HTTP and over Temporal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from platforms import LocalPlatform, read_json, refused, running

from bondstone.base.errors import Changed, ManifestInvalid, NotFound
from bondstone.client import Bondstone, manifests
from bondstone.client.direct.client import DirectClient
from bondstone.client.documents.apply import ApplyDocument
from bondstone.client.http.address import find_api_of
from bondstone.client.http.client import HttpClient

pytestmark = pytest.mark.integration

PROMISE = {
    "apiVersion": "bondstone.dev/v1",
    "kind": "Promise",
    "metadata": {"name": "record", "version": "1.0.0"},
    "spec": {
        "inputs": {
            "type": "object",
            "additionalProperties": False,
            "required": ["owner"],
            "properties": {
                "owner": {"type": "string"},
                "size": {"enum": ["small", "medium", "large"], "default": "small"},
                "password": {"type": "string", "writeOnly": True, "minLength": 8},
            },
        },
        "outputs": {"owner": {"value": "${inputs.owner}"}},
        "steps": [{"id": "none", "when": False, "terraform": {"module": "terraform/none"}}],
    },
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """A platform with a promise whose services need no tool."""
    folder = tmp_path_factory.mktemp("promises")
    with running(tmp_path_factory.mktemp("apply") / "data") as local:
        write_promise(folder / "record")
        local.bond("promise", "publish", str(folder / "record"))
        yield local


@pytest.fixture(params=["http", "direct"])
async def bond(platform: LocalPlatform, request: pytest.FixtureRequest) -> AsyncIterator[Bondstone]:
    """A client over one transport."""
    if request.param == "direct":
        async with DirectClient.connect(platform.settings, by="ada") as client:
            yield client
        return
    address = find_api_of(platform.settings)
    assert address is not None
    async with HttpClient.open(address, by="ada", data=platform.data) as client:
        yield client


@pytest.fixture
def team(bond: Bondstone) -> str:
    """A team of the transport's own."""
    return "over-http" if isinstance(bond, HttpClient) else "over-temporal"


async def applied(bond: Bondstone, folder: Path, **options: Any) -> ApplyDocument:
    """As `bond apply --wait`, without a process for each."""
    comparison = await manifests.compare(bond, manifests.read_manifests([folder]), **options)
    document = await manifests.apply(bond, comparison, reason="as the manifests say")
    for row in document.manifests:
        assert row.error is None
        for operation in row.operations:
            assert (await bond.operation(operation).wait()).status == "succeeded"
    return document


def write_promise(folder: Path, version: str = "1.0.0", name: str = "record") -> None:
    (folder / "terraform" / "none").mkdir(parents=True, exist_ok=True)
    (folder / "terraform" / "none" / "main.tf").write_text('resource "terraform_data" "it" {}\n')
    promise = json.loads(json.dumps(PROMISE))
    promise["metadata"] |= {"version": version, "name": name}
    (folder / "promise.yaml").write_text(json.dumps(promise))


def service(team: str, name: str, version: str = "", labels: dict[str, str] | None = None, **inputs: Any) -> str:
    spec: dict[str, Any] = {"promise": "record", "inputs": {"owner": "ada", **inputs}}
    if version:
        spec["version"] = version
    metadata = {"team": team, "name": name, "labels": {"repo": team, **(labels or {})}}
    return json.dumps({"apiVersion": "bondstone.dev/v1", "kind": "Service", "metadata": metadata, "spec": spec})


async def test_a_folder_from_first_apply_to_prune(bond: Bondstone, tmp_path: Path, team: str) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "nested" / "two.json"
    one.write_text(f"{service(team, 'a')}\n---\n{service(team, 'b', size='large')}\n")
    two.parent.mkdir()
    two.write_text(service(team, "c"))
    assert (await applied(bond, tmp_path)).counts == {"create": 3}
    again = await applied(bond, tmp_path)
    assert (again.counts, again.differs) == ({"unchanged": 3}, False)
    assert len((await bond.services.get(f"{team}/a")).operations) == 1

    # A person changes one elsewhere; the manifest changes both, and takes a line away.
    await (await bond.services.update(f"{team}/a", {"size": "medium"})).result()
    one.write_text(f"{service(team, 'a', size='large')}\n---\n{service(team, 'b', labels={'tier': 'data'})}\n")
    rows = {row.name: row for row in (await applied(bond, tmp_path)).manifests}
    assert rows[f"{team}/a"].action == "conflict"
    [difference] = rows[f"{team}/a"].differences
    assert (difference.path, difference.live, difference.wanted) == ("inputs.size", "medium", "large")
    assert difference.elsewhere
    assert rows[f"{team}/b"].action == "change"
    changed = await bond.services.get(f"{team}/b")
    assert (changed.inputs["size"], changed.labels) == ("small", {"repo": team, "tier": "data"})
    assert (await bond.services.get(f"{team}/a")).inputs["size"] == "medium"
    assert (await applied(bond, tmp_path, overwrite=True)).counts == {"change": 1, "unchanged": 2}
    assert (await applied(bond, tmp_path)).counts == {"unchanged": 3}

    # What no manifest asks for goes when it is asked to, and only what a manifest made.
    await (
        await bond.services.request("record", f"{team}/by-hand", {"owner": "x"}, labels={"repo": team})
    ).result()
    two.unlink()
    assert (await applied(bond, tmp_path)).counts == {"unchanged": 2}
    assert (await applied(bond, tmp_path, team=team, prune=lambda _: False)).counts == {"unchanged": 2}
    pruned = await applied(bond, tmp_path, team=team, prune=lambda live: live.labels["repo"] == team)
    assert pruned.counts == {"prune": 1, "unchanged": 2}
    assert [row.name for row in pruned.manifests if row.action == "prune"] == [f"{team}/c"]


async def test_one_broken_manifest_and_nothing_is_applied(bond: Bondstone, tmp_path: Path, team: str) -> None:
    (tmp_path / "good.yaml").write_text(service(team, "good"))
    unfit = service(team, "unfit", size="huge") + "\n---\n" + service(team, "x", "9.9.9")
    (tmp_path / "unfit.yaml").write_text(unfit)
    with pytest.raises(ManifestInvalid) as refusal:
        await applied(bond, tmp_path)
    places = [(Path(each.file).name, each.line) for each in refusal.value.problems]
    assert places == [("unfit.yaml", 1), ("unfit.yaml", 3)]
    assert "size:" in refusal.value.problems[0].message
    with pytest.raises(NotFound):
        await bond.services.get(f"{team}/good")


async def test_secrets_come_from_elsewhere_and_are_sent_once(bond: Bondstone, tmp_path: Path, team: str) -> None:
    (tmp_path / "one.yaml").write_text(service(team, "guarded", password={"$file": "password"}))
    with pytest.raises(ManifestInvalid, match="password cannot be read"):
        await applied(bond, tmp_path)
    (tmp_path / "password").write_text("correct horse\n")
    await applied(bond, tmp_path)
    shown = (await bond.services.get(f"{team}/guarded")).model_dump_json()
    history = [record.model_dump_json() for record in await bond.services.history(f"{team}/guarded")]
    assert "correct horse" not in "".join([shown, *history])
    assert '"password":{"$file":"password"}' in shown
    (tmp_path / "password").unlink()
    assert (await applied(bond, tmp_path)).counts == {"unchanged": 1}


async def test_an_export_is_applied_without_a_change(bond: Bondstone, tmp_path: Path, team: str) -> None:
    name = f"{team}/exported"
    await (await bond.services.request("record", name, {"owner": "eve", "size": "large"})).result()
    manifest, _ = await manifests.export(bond, name)
    (tmp_path / "exported.yaml").write_text(json.dumps(manifest))
    assert (await applied(bond, tmp_path)).counts == {"record": 1}
    assert (await applied(bond, tmp_path)).counts == {"unchanged": 1}
    assert len((await bond.services.get(name)).operations) == 1


async def test_a_promise_comes_before_its_services_and_a_version_moves_them(
    bond: Bondstone, tmp_path: Path, team: str
) -> None:
    promise = f"ledger-{team}"
    write_promise(tmp_path / "promises" / "ledger", name=promise)
    file = tmp_path / "books.yaml"
    file.write_text(service(team, "books", "1.0.0").replace('"record"', f'"{promise}"'))
    rows = (await applied(bond, tmp_path)).manifests
    assert [(row.kind, row.action) for row in rows] == [("Promise", "create"), ("Service", "create")]
    write_promise(tmp_path / "promises" / "ledger", "1.0.1", name=promise)
    file.write_text(service(team, "books", "1.0.1", size="large").replace('"record"', f'"{promise}"'))
    moved = await applied(bond, tmp_path)
    kinds = [(await bond.operation(each).get()).kind for each in moved.manifests[1].operations]
    assert kinds == ["patch", "update"]
    assert (await applied(bond, tmp_path)).counts == {"unchanged": 2}


def of_platform(team: str, *, cron: str = "0 1 * * *", exempt: str = "EMG", **spec: Any) -> str:
    """A schedule, a freeze, policies and an access document."""
    labels = {"repo": team}
    strategy = {"operation": "reconcile", "promise": "record", "waves": [{"name": "all", "rest": True}], **spec}
    grants = [{"roles": ["admin"], "scope": "everything", "subjects": [{"user": "local:ada"}, {"group": team}]}]
    kinds = {
        "Schedule": ({"name": f"drift-{team}"}, {"cron": cron, "strategy": strategy}),
        "Freeze": ({"name": f"end-{team}"}, {"team": team, "exempt": [exempt], "from": "2099-12-24T00:00:00Z"}),
        "PolicySet": ({"name": team}, {"directory": "rules"}),
    }
    documents: list[dict[str, Any]] = [{"kind": "Access", "spec": {"grants": grants}}]
    for kind, (metadata, content) in kinds.items():
        about = {**metadata, "labels": labels, "reason": "as every year"}
        documents.append({"kind": kind, "metadata": about, "spec": content})
    return "\n---\n".join(json.dumps({"apiVersion": "bondstone.dev/v1", **each}) for each in documents)


def actions(document: ApplyDocument) -> dict[str, str]:
    """Action by kind."""
    return {row.kind: row.action for row in document.manifests}


async def test_schedules_freezes_policies_and_access_are_applied_as_files(
    bond: Bondstone, tmp_path: Path, team: str
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "labels.rego").write_text(f"package labels\n# {team}\n")
    file = tmp_path / "platform.yaml"
    file.write_text(of_platform(team))
    # The transport before has left what there is one of: that is its manifest's.
    first = await applied(bond, tmp_path, overwrite=True)
    assert {actions(first)[kind] for kind in ("Schedule", "Freeze")} == {"create"}
    assert set(actions(first).values()) <= {"create", "change"}
    again = await applied(bond, tmp_path)
    assert (set(actions(again).values()), again.differs) == ({"unchanged"}, False)
    assert len((await bond.schedules.get(f"drift-{team}")).acts) == 1

    # A change of the manifest is carried out; nothing of it was changed elsewhere.
    file.write_text(of_platform(team, cron="0 2 * * *", exempt="FIX", select={"exclude": [f"{team}/x"]}))
    (rules / "labels.rego").write_text(f"package labels\n# {team}, again\n")
    assert set(actions(await applied(bond, tmp_path)).values()) == {"change", "unchanged"}
    schedule = await bond.schedules.get(f"drift-{team}")
    assert (schedule.cron, schedule.campaign["spec"]["select"]) == ("0 2 * * *", {"exclude": [f"{team}/x"]})
    assert (await bond.freezes.get(f"end-{team}")).exempt == ("FIX",)

    # What a person changes elsewhere is shown and left alone, until it is overwritten.
    await bond.schedules.update(f"drift-{team}", cron="0 3 * * *")
    freeze = await bond.freezes.get(f"end-{team}")
    await bond.freezes.update(
        freeze.name, reason="sooner", exempt=(), begins_at=freeze.begins_at, ends_at=freeze.ends_at
    )
    by_hand = tmp_path / "by-hand"
    by_hand.mkdir()
    (by_hand / "other.rego").write_text(f"package other\n# {team}\n")
    await bond.policies.publish(by_hand)
    (by_hand / "other.rego").unlink()
    access = (await bond.access.get()).source.replace(f'"{team}"', '"somebody"')
    await bond.access.publish(access)
    conflict = await applied(bond, tmp_path)
    assert set(actions(conflict).values()) == {"conflict"}
    shown = {row.kind: [each.path for each in row.differences if each.elsewhere] for row in conflict.manifests}
    assert shown == {
        "Access": [f"group {team} everywhere", "group somebody everywhere"],
        "PolicySet": ["labels.rego", "other.rego"],
        "Freeze": ["exempt", "reason"],
        "Schedule": ["cron"],
    }
    assert (await bond.schedules.get(f"drift-{team}")).cron == "0 3 * * *"
    assert set(actions(await applied(bond, tmp_path, overwrite=True)).values()) == {"change"}
    assert set(actions(await applied(bond, tmp_path)).values()) == {"unchanged"}

    # One broken document, and nothing of the others is applied; all mistakes are named.
    broken = of_platform(team, cron="0 25 * * *", exempt="NEW").replace('"Freeze"', '"Freese"')
    file.write_text(broken + "\n---\n" + service(team, "x", size="huge"))
    (rules / "broken.rego").write_text("package broken\nallow if {")
    with pytest.raises(ManifestInvalid) as refusal:
        await applied(bond, tmp_path)
    assert len(refusal.value.problems) >= 2
    assert (await bond.freezes.get(f"end-{team}")).exempt == ("FIX",)
    (rules / "broken.rego").unlink()

    # Away with what no manifest asks for, in the scope.
    file.write_text(service(team, "none"))
    scope = {"prune": lambda _: False, "prune_of_platform": lambda labels, _: labels.get("repo") == team}
    gone = await applied(bond, tmp_path, team=team, **scope)
    assert [(row.kind, row.name) for row in gone.manifests if row.action == "prune"] == [
        ("Schedule", f"drift-{team}"), ("Freeze", f"end-{team}"),
    ]  # fmt: skip
    assert f"drift-{team}" not in [row.name for row in await bond.schedules.list()]
    assert f"end-{team}" not in [freeze.name for freeze in await bond.freezes.list()]


async def test_of_two_who_change_what_both_have_read_one_is_refused(
    bond: Bondstone, tmp_path: Path, team: str
) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "two.rego").write_text("package two\n")
    (tmp_path / "platform.yaml").write_text(of_platform(f"{team}-two"))
    await applied(bond, tmp_path, overwrite=True)
    freeze = await bond.freezes.get(f"end-{team}-two")
    read = {"begins_at": freeze.begins_at, "ends_at": None, "expected": freeze.changes}
    freezes = [bond.freezes.update(freeze.name, reason="both", exempt=(f"N{n}",), **read) for n in (1, 2)]
    await one_of_two_is_refused(*freezes)
    for setting, first, second in (
        ("cron", "1 4 * * *", "2 4 * * *"),
        ("jitter", timedelta(minutes=1), timedelta(minutes=2)),
        ("catch_up", timedelta(hours=1), timedelta(hours=2)),
    ):
        schedule = await bond.schedules.get(f"drift-{team}-two")
        update = partial(bond.schedules.update, schedule.name, expected=schedule.version)
        await one_of_two_is_refused(update(**{setting: first}), update(**{setting: second}))


async def one_of_two_is_refused(*both: Awaitable[object]) -> None:
    outcomes = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(isinstance(each, Changed) for each in outcomes) == [False, True], outcomes


def publish_pair(platform: LocalPlatform, folder: Path) -> None:
    """Publish `record`, and `holder`, whose services have a record of their own as part and share another."""
    write_promise(folder / "record")
    write_promise(folder / "holder", name="holder")
    promise = json.loads((folder / "holder" / "promise.yaml").read_text())
    promise["spec"]["requires"] = [
        {"as": "own", "promise": "record", "version": ">=1.0", "inputs": {"owner": "${inputs.owner}"}},
        {"as": "common", "promise": "record", "version": ">=1.0", "bind": "${service.team}/a"},
    ]
    (folder / "holder" / "promise.yaml").write_text(json.dumps(promise))
    for name in ("record", "holder"):
        platform.bond("promise", "publish", str(folder / name))


async def test_what_is_exported_changes_nothing_here_and_makes_all_of_it_on_another_platform(
    platform: LocalPlatform, tmp_path: Path
) -> None:
    """Everything there is, as one stream."""
    publish_pair(platform, tmp_path / "promises")
    folder, rules = tmp_path / "files", tmp_path / "files" / "rules"
    rules.mkdir(parents=True)
    (rules / "labels.rego").write_text("package labels\n")
    (folder / "platform.yaml").write_text(of_platform("moved"))
    holder = service("moved", "whole").replace('"record"', '"holder"')
    services = (service("moved", "a", size="large", labels={"tier": "data"}), holder)
    (folder / "services.yaml").write_text(services[0])
    platform.bond("apply", "-f", str(folder), "--overwrite", "--wait")
    (folder / "services.yaml").write_text("\n---\n".join(services))
    platform.bond("apply", "-f", str(folder), "--overwrite", "--wait")
    exported = platform.bond("export", "--all").stdout
    assert platform.bond("diff", "-f", "-", stdin_text=exported).stdout.endswith(" unchanged\n")
    assert "whole-own" not in exported, "its parent makes it"
    ours = [each for each in exported.split("---\n") if "over-" not in each and "shell" not in each]
    with running(tmp_path / "data") as other:
        missing = other.bond("apply", "-f", "-", stdin_text="---\n".join(ours), status=2).stderr
        assert "there is no promise 'record' (bond promise publish DIR makes one)" in missing
        publish_pair(other, tmp_path / "promises")
        other.bond("apply", "-f", "-", "--overwrite", "--wait", stdin_text="---\n".join(ours))
        assert other.bond("export", "--all").stdout.split("---\n") == ours
        rows = {row["id"]: row["phase"] for row in read_json(other, "service-list", "service", "list")}
        assert rows == {"moved/a": "ready", "moved/whole": "ready", "moved/whole-own": "ready"}
        parts = read_json(other, "service-show", "service", "show", "moved/whole")["parts"]
        assert parts == {"own": "moved/whole-own", "common": "moved/a"}


def test_the_commands_and_their_exit_statuses(platform: LocalPlatform, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(service("shell", "a"))

    def bond_json(*arguments: str, status: int = 0) -> dict[str, Any]:
        return read_json(platform, "apply", *arguments, status=status)

    tried = bond_json("apply", "-f", str(tmp_path), "--dry-run")
    assert [(each["dry_run"], each["status"]) for each in tried["operations"]] == [(True, "succeeded")]
    assert bond_json("diff", "-f", str(tmp_path), status=7)["counts"] == {"create": 1}
    assert bond_json("apply", "-f", str(tmp_path), "--wait", "--exit-code", status=7)["counts"] == {"create": 1}
    assert bond_json("diff", "-f", str(tmp_path))["counts"] == {"unchanged": 1}
    exported = platform.bond("export", "shell/a").stdout
    assert "kind: Service" in exported
    file.write_text(service("shell", "a").replace("inputs", "inptus"))
    error = refused(platform.bond("apply", "-f", str(tmp_path), "-o", "json", status=2), "MANIFEST_INVALID")
    assert [(Path(each["file"]).name, each["line"]) for each in error["problems"]] == [("one.yaml", 1)]
    file.write_text(service("shell", "b"))
    unscoped = platform.bond("apply", "-f", str(file), "--prune", "-o", "json", status=2)
    assert "needs a scope" in refused(unscoped, "INVALID_INPUT")["message"]
    unasked = platform.bond("apply", "-f", str(file), "--prune", "-l", "repo=shell", "-o", "json", status=2)
    assert "would take down shell/a" in refused(unasked, "INVALID_INPUT")["message"]
