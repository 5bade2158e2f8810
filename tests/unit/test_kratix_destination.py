"""Kratix steps with a destination: a real git pushes to a real repository; what pipelines write is told."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from destination_kit import MAP, SECTION, DestinationBench, actions
from pydantic import ValidationError

from bondstone.activities.kratix import executor as kratix
from bondstone.activities.kratix.destination import pushing
from bondstone.activities.kratix.destination.repository import Repository
from bondstone.activities.kratix.section import KratixSection
from bondstone.base.destinations import GitDestination
from bondstone.base.errors import (
    InvalidInput,
    PlanStale,
    Refused,
    SettingsInvalid,
    StoreUnavailable,
    ToolFailed,
    ToolUnavailable,
)
from bondstone.base.settings import Settings
from bondstone.executors.protocol import StepContext
from bondstone.model.service import ServiceId
from bondstone.store import Store

FOLDER = "clusters/eu/shop/web/main"


class Remote:
    """A bare repository, and somebody else who works in it."""

    def __init__(self, root: Path) -> None:
        self.bare, self.other = root / "fleet.git", root / "other"
        self.url = f"file://{self.bare}"
        self.run("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        self.run("clone", "--quiet", self.url, str(self.other))
        self.write("README", "not the step's\n")

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        identity = ("-c", "user.name=other", "-c", "user.email=other@example.org")
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def write(self, path: str, text: str | None) -> None:
        """Another one's push of one file; None removes it."""
        if self.commits():
            self.run("pull", "--quiet", "origin", "main", cwd=self.other)
        target = self.other / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True) if text is None else target.write_text(text)
        self.run("add", "--all", ".", cwd=self.other)
        self.run("commit", "--quiet", "-m", f"other {path}", cwd=self.other)
        self.run("push", "--quiet", "origin", "HEAD:main", cwd=self.other)

    def commits(self) -> list[str]:
        return self.run("log", "--all", "--format=%s", cwd=self.bare).splitlines()

    def files(self) -> dict[str, str]:
        paths = self.run("ls-tree", "-r", "--name-only", "main", cwd=self.bare).splitlines()
        return {path: self.run("show", f"main:{path}", cwd=self.bare) for path in paths}


class Bench(DestinationBench):
    """With a repository and somebody else who works in it."""

    def __init__(self, root: Path, store: Store, settings: Settings) -> None:
        self.remote = Remote(root)
        destination = GitDestination(url=self.remote.url, path="clusters/eu")
        super().__init__(store, settings.changed(git_destinations={"fleet": destination}))


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    settings = Settings(data=tmp_path / "data")
    made = Bench(tmp_path, await Store.open(settings, create_keys=True), settings)
    monkeypatch.setattr(kratix, "_rendered", made.rendered)
    return made


async def test_files_are_planned_pushed_watched_and_removed(bench: Bench) -> None:
    planned = await bench.plan()
    assert actions(planned) == [("create", "make/map.yaml"), ("create", "make/notes.txt")]
    assert planned.document["manifests"][0]["data"] == {"size": "small"}
    assert planned.document["target"]["folder"] == FOLDER
    assert bench.remote.commits() == ["other README"], "a plan pushes nothing"

    outcome = await bench.apply(planned)
    assert outcome.outputs["status"].value == {"message": "a small one"}
    assert bench.remote.files() == {
        "README": "not the step's\n",
        f"{FOLDER}/make/map.yaml": MAP % "small",
        f"{FOLDER}/make/notes.txt": "plain words\n",  # as text mode reads it; git keeps the bytes:
    }
    size = bench.remote.run("cat-file", "-s", f"main:{FOLDER}/make/notes.txt", cwd=bench.remote.bare)
    assert int(size) == len("plain words\r\n")
    assert (await bench.plan()).empty
    assert (await bench.executor.detect_drift(bench.context())).changes == []

    bench.files = {"make/map.yaml": MAP % "large", "more/new.yaml": MAP % "new"}
    changed = await bench.plan()
    assert actions(changed) == [
        ("update", "make/map.yaml"), ("delete", "make/notes.txt"), ("create", "more/new.yaml"),
    ]  # fmt: skip
    assert changed.changes[0].before == {"content": MAP % "small"}
    await bench.apply(changed)
    bench.remote.write(f"{FOLDER}/make/map.yaml", "by hand\n")
    [drifted] = (await bench.executor.detect_drift(bench.context())).changes
    assert (drifted.before, drifted.after) == ({"content": MAP % "large"}, {"content": "by hand\n"})
    state = (await bench.store.state(ServiceId(team="shop", name="web"), "main").read()).payload
    assert state is not None
    assert bench.executor.held(state) == ("make/map.yaml", "more/new.yaml")

    gone = await bench.executor.plan_destroy(bench.context())
    assert actions(gone) == [("delete", "make/map.yaml"), ("delete", "more/new.yaml")]
    assert (await bench.apply(gone)).outputs == {}
    assert bench.actions[-1] == "delete", "its pipelines of `delete` run first"
    assert bench.remote.files() == {"README": "not the step's\n"}
    assert (await bench.executor.plan_destroy(bench.context())).empty


async def test_a_plan_is_stale_when_the_steps_own_folder_moved(bench: Bench) -> None:
    planned = await bench.plan()
    bench.remote.write(f"{FOLDER}/make/map.yaml", "by hand\n")
    with pytest.raises(PlanStale, match="has changed since the plan was made"):
        await bench.apply(planned)
    assert len(bench.remote.commits()) == 2, "nothing was pushed"
    assert actions(await bench.plan())[0] == ("update", "make/map.yaml"), "the next plan shows what stands there"


async def test_a_push_of_others_between_is_followed_by_one_on_top(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, push, raced = await bench.plan(), Repository.push, []

    async def late(self: Repository, commit: str) -> bool:
        if len(raced) < 2:
            raced.append(commit)
            bench.remote.write(f"others/{len(raced)}", "theirs\n")
        return await push(self, commit)

    monkeypatch.setattr(Repository, "push", late)
    await bench.apply(planned)
    assert {"others/1", "others/2", f"{FOLDER}/make/map.yaml"} < bench.remote.files().keys()
    assert bench.remote.commits().count("Write the files of shop/web step main") == 1
    assert sum("another push came first" in line for line in bench.log) == 2

    async def never(_self: Repository, _commit: str) -> bool:
        return False

    bench.files = {"make/map.yaml": MAP % "large"}
    planned = await bench.plan()
    monkeypatch.setattr(Repository, "push", never)
    monkeypatch.setattr(pushing, "MAX_PUSHES", 3)
    with pytest.raises(ToolFailed, match="each of 3 pushes"):
        await bench.apply(planned)


@pytest.mark.parametrize("destroy", [False, True])
async def test_an_attempt_after_one_that_was_killed_finds_its_push_by_its_content(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, destroy: bool
) -> None:
    if destroy:
        await bench.provision()
        planned = await bench.executor.plan_destroy(bench.context())
    else:
        planned = await bench.plan()
    push = Repository.push

    async def killed(self: Repository, commit: str) -> bool:
        assert await push(self, commit)
        raise StoreUnavailable("the worker is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Repository, "push", killed)
        with pytest.raises(StoreUnavailable):
            await bench.apply(planned)
    tip = bench.remote.run("rev-parse", "main", cwd=bench.remote.bare)
    done, run = await bench.apply(planned), list(bench.actions)
    assert bench.remote.run("rev-parse", "main", cwd=bench.remote.bare) == tip, "nothing is pushed twice"
    assert bench.actions.count("delete") == (1 if destroy else 0), "nor are pipelines run twice"
    assert (await bench.apply(planned)).outputs == done.outputs
    assert bench.actions == run


async def test_a_repository_without_its_branch_gets_it(bench: Bench) -> None:
    empty = bench.remote.bare.parent / "empty.git"
    bench.remote.run("init", "--quiet", "--bare", str(empty))
    bench.settings = bench.settings.changed(
        git_destinations={"fleet": GitDestination(url=f"file://{empty}", branch="env/prod")}
    )
    await bench.provision()
    assert "make/map.yaml" in bench.remote.run("ls-tree", "-r", "--name-only", "env/prod", cwd=empty)
    bench.settings = bench.settings.changed(
        git_destinations={"fleet": GitDestination(url=bench.remote.url, path="clusters/eu")}
    )
    with pytest.raises(Refused, match=r"cannot move to clusters/eu/shop/web/main of branch main"):
        await bench.plan()


async def test_what_the_server_or_the_worker_refuses_is_said_in_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = bench.remote.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho main is protected with hunter2hunter2 >&2\nexit 1\n")
    hook.chmod(0o755)
    planned = await bench.plan()
    with pytest.raises(ToolFailed, match=r"git push failed: .*main is protected with \(secret\)"):
        await bench.executor.apply(bench.context(secrets=("hunter2hunter2",)), planned.artefact, planned.position)
    with pytest.raises(InvalidInput, match=r"make/map\.yaml shows a secret, which would be plain text"):
        await bench.plan(secrets=("ConfigMap",))
    bench.files = {"make/.git/config": "x"}
    with pytest.raises(ToolFailed, match="no path of a destination"):
        await bench.plan()
    with pytest.raises(SettingsInvalid, match=r"no destination named 'other': this pool has fleet"):
        await bench.plan(destination="other")
    bench.files = {}
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolUnavailable, match="no git on this worker's PATH"):
        await bench.plan()
    assert list((bench.settings.work_dir / "kratix" / "runs").iterdir()) == [], "no attempt leaves a folder"


def test_a_password_in_an_address_and_a_cluster_beside_a_destination_are_refused() -> None:
    with pytest.raises(ValidationError, match="holds a password"):
        GitDestination(url="https://bot:hunter2@git.example/fleet.git")
    assert GitDestination(url="ssh://git@git.example:22/fleet.git").branch == "main"
    with pytest.raises(ValidationError, match="cluster do not go with destination"):
        KratixSection.model_validate(SECTION | {"cluster": "eu"})


def test_settings_hand_destinations_on_to_workers(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, git_destinations={"fleet": GitDestination(url="file:///fleet.git")})
    told = json.loads(settings.as_environment()["BOND_GIT_DESTINATIONS"])
    assert told == {"fleet": {"url": "file:///fleet.git", "branch": "main", "path": ""}}


async def test_a_test_of_the_promise_reaches_no_destination(bench: Bench) -> None:
    def trial() -> StepContext:
        return replace(bench.context(), trial=True, settings=bench.settings.changed(git_destinations={}))

    planned = await bench.executor.plan(trial())
    await bench.executor.apply(trial(), planned.artefact, planned.position)
    assert (await bench.executor.plan(trial())).empty
    gone = await bench.executor.plan_destroy(trial())
    assert len(gone.changes) == 2
    await bench.executor.apply(trial(), gone.artefact, gone.position)
    assert bench.remote.commits() == ["other README"]
