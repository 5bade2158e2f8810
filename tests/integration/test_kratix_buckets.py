"""Kratix steps whose files go to a bucket, or to git: a real S3, a real git, workers that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
from destination_kit import MAP, SECTION, DestinationBench, actions
from destination_victim import MARK
from obstore.store import from_url
from pydantic import ValidationError

from bondstone.activities.kratix import executor as kratix
from bondstone.activities.kratix.destination.bucket import Bucket
from bondstone.activities.kratix.destination.documents import DestinationFolder
from bondstone.activities.kratix.section import KratixSection
from bondstone.base.destinations import BucketDestination, GitDestination
from bondstone.base.errors import (
    InvalidInput,
    PlanStale,
    Refused,
    SettingsInvalid,
    StepTimedOut,
    ToolFailed,
    Unreachable,
)
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId
from bondstone.store import Store
from harness.servers.s3 import S3
from harness.waiting import until_async

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


class InBucket:
    """A bucket as somebody else sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store = from_url(url, automatic_cleanup=True) if url.startswith("file") else from_url(url)

    def files(self) -> dict[str, bytes]:
        names = [item["path"] for batch in self._store.list() for item in batch]
        return {name: bytes(self._store.get(name).bytes()) for name in sorted(names)}

    def put(self, name: str, text: str) -> None:
        obstore.put(self._store, name, text.encode())

    def delete(self, name: str) -> None:
        obstore.delete(self._store, name)


async def opened(root: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> DestinationBench:
    told = Settings(data=root / "data", **settings)
    made = DestinationBench(await Store.open(told, create_keys=True), told)
    monkeypatch.setattr(kratix, "_rendered", made.rendered)
    return made


@pytest.fixture(params=["file", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InBucket:
    if request.param == "file":
        (tmp_path / "bucket").mkdir()
        return InBucket((tmp_path / "bucket").as_uri())
    server: S3 = request.getfixturevalue("s3")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return InBucket(f"{server.new_bucket()}/clusters/eu")


@pytest.fixture
async def bench(bucket: InBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DestinationBench:
    return await opened(tmp_path, monkeypatch, bucket_destinations={"fleet": BucketDestination(url=bucket.url)})


async def test_objects_are_planned_written_watched_and_removed(bench: DestinationBench, bucket: InBucket) -> None:
    bucket.put("README", "not the step's\n")
    planned = await bench.plan()
    assert actions(planned) == [("create", "make/map.yaml"), ("create", "make/notes.txt")]
    assert planned.document["target"] == {
        "destination": "fleet", "url": bucket.url, "branch": "", "folder": "shop/web/main",
    }  # fmt: skip
    assert list(bucket.files()) == ["README"], "a plan writes nothing"
    outcome = await bench.apply(planned)
    assert outcome.outputs["status"].value == {"message": "a small one"}
    assert bucket.files() == {
        "README": b"not the step's\n",
        "shop/web/main/make/map.yaml": (MAP % "small").encode(),
        "shop/web/main/make/notes.txt": b"plain words\r\n",
    }
    assert (await bench.plan()).empty
    assert (await bench.executor.detect_drift(bench.context())).changes == []

    bench.files = {"make/map.yaml": MAP % "large", "more/new.yaml": MAP % "new"}
    changed = await bench.plan()
    assert actions(changed) == [
        ("update", "make/map.yaml"), ("delete", "make/notes.txt"), ("create", "more/new.yaml"),
    ]  # fmt: skip
    assert changed.changes[0].before == {"content": MAP % "small"}
    await bench.apply(changed)
    bucket.put("shop/web/main/make/map.yaml", "by hand\n")
    [drifted] = (await bench.executor.detect_drift(bench.context())).changes
    assert (drifted.before, drifted.after) == ({"content": MAP % "large"}, {"content": "by hand\n"})
    state = (await bench.store.state(ServiceId(team="shop", name="web"), "main").read()).payload
    assert state is not None
    assert bench.executor.held(state) == ("make/map.yaml", "more/new.yaml")

    gone = await bench.plan_destroy()
    assert actions(gone) == [("delete", "make/map.yaml"), ("delete", "more/new.yaml")]
    await bench.apply(gone)
    assert bench.actions[-1] == "delete", "its pipelines of `delete` run first"
    assert list(bucket.files()) == ["README"]
    assert (await bench.plan_destroy()).empty


async def test_a_plan_is_stale_when_another_one_changed_the_folder(
    bench: DestinationBench, bucket: InBucket
) -> None:
    planned = await bench.plan()
    bucket.put("shop/web/main/make/other.yaml", "by hand\n")
    with pytest.raises(PlanStale, match="has changed since the plan was made"):
        await bench.apply(planned)
    assert list(bucket.files()) == ["shop/web/main/make/other.yaml"], "nothing was written"
    assert ("delete", "make/other.yaml") in actions(await bench.plan()), "the next plan shows what stands there"


async def test_an_object_that_changes_between_reading_and_writing_is_not_overwritten(
    bench: DestinationBench, bucket: InBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.provision()
    bench.files = {"make/map.yaml": MAP % "large", "make/notes.txt": "plain words\r\n"}
    planned, write = await bench.plan(), Bucket.write

    async def late(self: Bucket, message: str, still_held: Any) -> str:
        bucket.put("shop/web/main/make/map.yaml", "by hand\n")
        return await write(self, message, still_held)

    monkeypatch.setattr(Bucket, "write", late)
    if bucket.url.startswith("file"):  # a directory has no conditions: it is to try things out
        await bench.apply(planned)
        return
    with pytest.raises(PlanStale, match="has changed since the plan was made"):
        await bench.apply(planned)
    assert bucket.files()["shop/web/main/make/map.yaml"] == b"by hand\n"
    assert any("another one wrote an object meanwhile" in line for line in bench.log)


@pytest.mark.kills
@pytest.mark.parametrize("destroy", [False, True])
async def test_an_attempt_after_a_killed_one_continues_in_the_middle_of_the_objects(
    bench: DestinationBench, bucket: InBucket, tmp_path: Path, *, destroy: bool
) -> None:
    bench.files = {f"make/{number:02d}.txt": f"file {number}\n" for number in range(20)}
    if destroy:
        await bench.provision()
    planned = await (bench.plan_destroy() if destroy else bench.plan())
    victim = await killed(bench, planned, tmp_path, stop_after=7)
    await until_async(lambda: exists(tmp_path / MARK), "it stands still in the middle")
    os.killpg(victim.pid, signal.SIGKILL)
    await victim.wait()
    written = bucket.files()
    assert 0 < len(written) < 20, "it died half-way"
    outcome = await bench.apply(planned)
    assert {name: text.decode() for name, text in bucket.files().items()} == (
        {} if destroy else {f"shop/web/main/{path}": text for path, text in bench.files.items()}
    )
    assert bench.actions.count("delete") == 0, "the pipelines of `delete` had run, and run once"
    assert (await bench.apply(planned)).outputs == outcome.outputs
    assert (await (bench.plan_destroy() if destroy else bench.plan())).empty
    assert list(bench.settings.work_dir.glob("kratix/runs/*")) == []


@pytest.mark.kills
@pytest.mark.parametrize("hook", ["pre-receive", "post-receive"])
async def test_a_worker_killed_around_its_push_leaves_one_commit(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare, mark, go = tmp_path / "fleet.git", tmp_path / MARK, tmp_path / "go"
    git("init", "--quiet", "--bare", str(bare))
    os.mkfifo(go)
    script = bare / "hooks" / hook
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"#!/bin/sh\nrm -f {script}\ntouch {mark}\nread word < {go}\nexit 1\n")
    script.chmod(0o755)
    bench = await opened(tmp_path, monkeypatch, git_destinations={"fleet": GitDestination(url=bare.as_uri())})
    try:
        planned = await bench.plan()
        victim = await killed(bench, planned, tmp_path)
        await until_async(lambda: exists(mark), "git is in the middle of its push")
        os.killpg(victim.pid, signal.SIGKILL)
        await victim.wait()
        commits = git("--git-dir", str(bare), "log", "--all", "--format=%H").split()
        assert len(commits) == (hook == "post-receive"), "the push is there, or it is not"
        await bench.apply(planned)
        assert (await bench.apply(planned)).outputs["status"].value == {"message": "a small one"}
        after = git("--git-dir", str(bare), "log", "--all", "--format=%H").split()
        assert len(after) == 1, "nothing is pushed twice"
        assert after == commits or hook == "pre-receive"
        assert (await bench.plan()).empty
        assert list(bench.settings.work_dir.glob("kratix/runs/*")) == [], "the dead attempt's folder is gone"
    finally:
        end = os.open(go, os.O_RDWR)  # the hook of the dead attempt's push
        os.write(end, b"\n")
        os.close(end)


async def test_a_bucket_that_does_not_answer_in_time_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(DestinationFolder(url=tmp_path.as_uri(), folder="shop/web/main"), time_seconds=0)
    await bucket.open()
    monkeypatch.setattr(bucket.__class__, "_names", lambda _: asyncio.sleep(60))
    with pytest.raises(StepTimedOut, match=r"shop/web/main.* could not be read in 0 s"):
        await bucket.newest()


async def test_what_the_bucket_or_the_pool_refuses_is_said_in_words(
    bench: DestinationBench, bucket: InBucket
) -> None:
    with pytest.raises(InvalidInput, match=r"make/map\.yaml shows a secret, which would be plain text"):
        await bench.plan(secrets=("ConfigMap",))
    bench.files = {"make/a#b.yaml": "x"}
    with pytest.raises(ToolFailed, match="'#' in it is not the same on every store"):
        await bench.plan()
    bench.files = {}
    with pytest.raises(SettingsInvalid, match=r"no destination named 'other': this pool has fleet"):
        await bench.plan(destination="other")
    both = bench.settings.changed(git_destinations={"fleet": GitDestination(url="file:///fleet.git")})
    with pytest.raises(SettingsInvalid, match="a git destination and a bucket named 'fleet'"):
        await bench.executor.plan(replace(bench.context(), settings=both))
    await bench.provision()
    moved = bench.settings.changed(bucket_destinations={"fleet": BucketDestination(url=f"{bucket.url}/other")})
    with pytest.raises(Refused, match="cannot move to shop/web/main of"):
        await bench.executor.plan(replace(bench.context(), settings=moved))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "hunter22hunter22"}, ToolFailed, "the bucket refuses access"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, Unreachable, "the bucket failed"),
        ({}, ToolFailed, "there is no such bucket"),
    ],
)
async def test_a_server_that_refuses_is_named(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, changes: dict[str, str], error: Any, words: str
) -> None:
    for name, value in {**s3.environment, **changes}.items():
        monkeypatch.setenv(name, value)
    url = s3.new_bucket() if changes else "s3://bond-none"
    bench = await opened(tmp_path, monkeypatch, bucket_destinations={"fleet": BucketDestination(url=url)})
    with pytest.raises(error, match=words) as raised:
        await bench.plan()
    assert "hunter22" not in str(raised.value)


async def test_a_test_of_the_promise_reaches_no_bucket(bench: DestinationBench, bucket: InBucket) -> None:
    def trial() -> Any:
        return replace(bench.context(), trial=True)

    planned = await bench.executor.plan(trial())
    await bench.executor.apply(trial(), planned.artefact, planned.position)
    assert (await bench.executor.plan(trial())).empty
    assert bucket.files() == {}


@pytest.mark.parametrize(
    "url", ["https://x/y", "s3://", "s3://key:secret@bucket/x", "s3://bucket?region=eu", "/x"]
)
def test_the_address_of_a_bucket_holds_no_credentials(url: str) -> None:
    with pytest.raises(ValidationError, match="url must"):
        BucketDestination(url=url)


def test_settings_hand_buckets_on_to_workers(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, bucket_destinations={"fleet": BucketDestination(url="s3://fleet/eu")})
    assert settings.as_environment()["BOND_BUCKET_DESTINATIONS"] == '{"fleet": {"url": "s3://fleet/eu"}}'
    with pytest.raises(ValidationError, match="cluster do not go with destination"):
        KratixSection.model_validate(SECTION | {"cluster": "eu"})


# Helpers ----------------------------------------------------------------------------------------------------


async def exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout


async def killed(
    bench: DestinationBench, planned: Any, root: Path, stop_after: int | None = None
) -> asyncio.subprocess.Process:
    """A worker of its own process group that applies the plan, and is about to die."""
    (root / "plan").write_bytes(planned.artefact)
    script = Path(__file__).with_name("destination_victim.py")
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": path}
    words = [str(root), bench.settings.model_dump_json(), str(planned.position)]
    words += [] if stop_after is None else [str(stop_after)]
    return await asyncio.create_subprocess_exec(
        sys.executable, str(script), *words, start_new_session=True, env=environment
    )
