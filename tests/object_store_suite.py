"""What every kind of object store must do alike: a class of tests, to be had with a fixture `objects`."""

from __future__ import annotations

import asyncio

import pytest

from bondstone.base.errors import InvalidInput, ObjectMissing, StoreError
from bondstone.store import objects as objects_module
from bondstone.store.objects import Objects


class ObjectStoreSuite:
    """Inherit from it in a class named `Test…`."""

    async def test_what_was_put_is_got(self, objects: Objects) -> None:
        await objects.put("a/b", b"one")
        await objects.put("a/b", b"two")
        await objects.put("a/empty", b"")
        assert await objects.get("a/b") == b"two"
        assert await objects.get("a/empty") == b""
        assert await objects.exists("a/b")

    async def test_a_missing_object_is_said_with_its_key(self, objects: Objects) -> None:
        assert not await objects.exists("a/b")
        with pytest.raises(ObjectMissing) as raised:
            await objects.get("a/b")
        assert raised.value.where == "a/b"
        assert raised.value.hint
        await objects.put("a/b/c", b"")
        assert not await objects.exists("a/b")

    async def test_of_sixteen_racing_writers_one_wins(self, objects: Objects) -> None:
        for race in range(5):
            key = f"race/{race}"
            won = await asyncio.gather(*(objects.put_if_absent(key, b"%d" % writer) for writer in range(16)))
            assert sum(won) == 1
            assert await objects.get(key) == b"%d" % won.index(True)

    async def test_listings_are_sorted_and_stop_at_whole_segments(self, objects: Objects) -> None:
        for key in ("s/ab/1", "s/a/2", "s/a/10", "s/a/1/x"):
            await objects.put(key, b"123")
        assert [info.key for info in await objects.list("s/a")] == ["s/a/1/x", "s/a/10", "s/a/2"]
        assert [info.key for info in await objects.list("s/a", after="s/a/10")] == ["s/a/2"]
        assert [(info.size, info.modified.tzinfo is not None) for info in await objects.list("s/ab/")] == [
            (3, True)
        ]
        assert await objects.list("none") == []

    async def test_deleting_is_idempotent_and_spares_the_neighbours(self, objects: Objects) -> None:
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
    async def test_keys_that_could_leave_the_store_are_refused(self, objects: Objects, key: str) -> None:
        with pytest.raises(InvalidInput):
            await objects.put(key, b"")
        with pytest.raises(InvalidInput):
            await objects.get(key)

    async def test_objects_are_bounded(self, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
        await objects.put("big", b"12345")
        monkeypatch.setattr(objects_module, "MAX_OBJECT_BYTES", 4)
        with pytest.raises(StoreError):
            await objects.get("big")
        with pytest.raises(StoreError):
            await objects.put("other", b"12345")

    async def test_a_store_that_puts_only_if_absent_is_taken_again_and_again(self, objects: Objects) -> None:
        await objects.require_put_if_absent()
        await objects.require_put_if_absent()
