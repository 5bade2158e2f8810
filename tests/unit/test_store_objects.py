"""Every kind of object store behaves alike; the local one is private and durable besides."""

import asyncio
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.errors import InvalidInput, ObjectMissing, SettingsInvalid, StoreError, StoreUnavailable
from bondstone.store import objects as objects_module
from bondstone.store.objects import Objects, check_key, segment


@pytest.fixture(params=["memory", "file"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """One store of each kind; another kind joins by a parameter and its URL."""
    urls = {"memory": "memory:///", "file": (tmp_path / "deep" / "objects").as_uri()}
    return await Objects.open(urls[request.param])


async def test_what_was_put_is_got(objects: Objects) -> None:
    await objects.put("a/b", b"one")
    await objects.put("a/b", b"two")
    await objects.put("a/empty", b"")
    assert await objects.get("a/b") == b"two"
    assert await objects.get("a/empty") == b""
    assert await objects.exists("a/b")


async def test_a_missing_object_is_said_with_its_key(objects: Objects) -> None:
    assert not await objects.exists("a/b")
    with pytest.raises(ObjectMissing) as raised:
        await objects.get("a/b")
    assert raised.value.where == "a/b"
    assert raised.value.hint
    await objects.put("a/b/c", b"")
    assert not await objects.exists("a/b")


async def test_of_sixteen_racing_writers_one_wins(objects: Objects) -> None:
    for race in range(5):
        key = f"race/{race}"
        won = await asyncio.gather(*(objects.put_if_absent(key, b"%d" % writer) for writer in range(16)))
        assert sum(won) == 1
        assert await objects.get(key) == b"%d" % won.index(True)


async def test_listings_are_sorted_and_stop_at_whole_segments(objects: Objects) -> None:
    for key in ("s/ab/1", "s/a/2", "s/a/10", "s/a/1/x"):
        await objects.put(key, b"123")
    assert [info.key for info in await objects.list("s/a")] == ["s/a/1/x", "s/a/10", "s/a/2"]
    assert [info.key for info in await objects.list("s/a", after="s/a/10")] == ["s/a/2"]
    assert [(info.size, info.modified.tzinfo is not None) for info in await objects.list("s/ab/")] == [(3, True)]
    assert await objects.list("none") == []


async def test_deleting_is_idempotent_and_spares_the_neighbours(objects: Objects) -> None:
    for key in ("s/a/1", "s/a/2", "s/ab/1"):
        await objects.put(key, b"")
    await objects.delete("s/a/1", "s/a/missing")
    await objects.delete()
    assert await objects.delete_prefix("s/a") == 1
    assert await objects.delete_prefix("s/a") == 0
    assert [info.key for info in await objects.list("s")] == ["s/ab/1"]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", ".a", "a\\b", "a b", "é", "a\0", "a" * 999]
)
async def test_keys_that_could_leave_the_store_are_refused(objects: Objects, key: str) -> None:
    with pytest.raises(InvalidInput):
        await objects.put(key, b"")
    with pytest.raises(InvalidInput):
        await objects.get(key)


@given(st.text(max_size=300))
def test_any_text_becomes_one_segment(text: str) -> None:
    assert check_key(segment(text)) == segment(text)
    assert "/" not in segment(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_texts_become_different_segments(one: str, other: str) -> None:
    assert (segment(one) == segment(other)) is (one == other)


async def test_objects_are_bounded(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    await objects.put("big", b"12345")
    monkeypatch.setattr(objects_module, "MAX_OBJECT_BYTES", 4)
    with pytest.raises(StoreError):
        await objects.get("big")
    with pytest.raises(StoreError):
        await objects.put("other", b"12345")


@pytest.mark.parametrize("url", ["", "objects", "ftp://x/y", "file://host/path", "s3://", "file://"])
async def test_a_wrong_url_is_refused_in_words(url: str) -> None:
    with pytest.raises(SettingsInvalid) as raised:
        await Objects.open(url)
    assert raised.value.hint


async def test_a_refusal_does_not_show_credentials() -> None:
    with pytest.raises(SettingsInvalid) as raised:
        await Objects.open("ftp://user:hunter22@host/path?token=hunter22")
    assert "hunter22" not in str(raised.value)


async def test_local_files_are_for_their_owner_only(tmp_path: Path) -> None:
    objects = await Objects.open((tmp_path / "objects").as_uri())
    await objects.put("a/b/c", b"1")
    await objects.put_if_absent("a/d", b"1")
    for path in [tmp_path / "objects", *(tmp_path / "objects").rglob("*")]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


async def test_what_a_crash_leaves_half_written_is_no_object(tmp_path: Path) -> None:
    objects = await Objects.open(tmp_path.as_uri())
    await objects.put("a/1", b"1")
    (tmp_path / "a" / "2#123456").write_bytes(b"half")
    assert [info.key for info in await objects.list("a")] == ["a/1"]


async def test_a_full_disk_is_said_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = await Objects.open(tmp_path.as_uri())

    def no_room(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(objects_module, "write_durably", no_room)
    with pytest.raises(StoreUnavailable, match="out of room"):
        await objects.put("a", b"1")


async def test_a_store_that_does_not_answer_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "eu",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter22")
    monkeypatch.setattr(objects_module, "_RETRIES", 0)
    objects = await Objects.open("s3://bucket/prefix")
    with pytest.raises(StoreUnavailable) as raised:
        await objects.get("a")
    assert "hunter22" not in str(raised.value)
    assert "Debug" not in str(raised.value)
