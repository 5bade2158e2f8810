"""The organisation's policy sets: numbered, immutable, the newest in force."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bondstone.base.errors import NotFound, ObjectCorrupt, PolicyInvalid
from bondstone.store.objects import Objects
from bondstone.store.policies import PolicySets


@pytest.fixture
async def objects(tmp_path: Path) -> Objects:
    return await Objects.open((tmp_path / "objects").as_uri())


def policies(path: Path, message: str) -> Path:
    path.mkdir(exist_ok=True)
    (path / "a.rego").write_text(f'package main\ndeny contains "{message}" if true\n', encoding="utf-8")
    return path


async def test_no_set_is_in_force_until_one_is_published(objects: Objects) -> None:
    assert await PolicySets(objects).current() is None
    assert await PolicySets(objects).list() == []


async def test_the_newest_set_is_in_force_and_older_ones_stay(objects: Objects, tmp_path: Path) -> None:
    reader = PolicySets(objects)
    first = await PolicySets(objects).publish(policies(tmp_path / "p", "one"), by="ada")
    assert (await reader.current()).ref == first
    second = await PolicySets(objects).publish(policies(tmp_path / "p", "two"))
    assert (first.version, first.published_by, second.version) == (1, "ada", 2)
    assert (await reader.current()).ref == second
    assert 'deny contains "one"' in (await reader.get(1)).files[0].source
    assert [ref.version for ref in await reader.list()] == [2, 1]


async def test_the_same_content_again_changes_nothing_but_going_back_is_a_new_set(
    objects: Objects, tmp_path: Path
) -> None:
    sets = PolicySets(objects)
    first = await sets.publish(policies(tmp_path / "p", "one"))
    assert await sets.publish_once(policies(tmp_path / "q", "one")) == (first, False)
    await sets.publish(policies(tmp_path / "p", "two"))
    again, new = await sets.publish_once(policies(tmp_path / "p", "one"))
    assert (again.version, again.digest, new) == (3, first.digest, True)


async def test_two_publishers_at_once_get_a_number_each(objects: Objects, tmp_path: Path) -> None:
    publishers = [PolicySets(objects).publish(policies(tmp_path / f"p{i}", f"m{i}")) for i in range(6)]
    refs = await asyncio.gather(*publishers)
    assert sorted(ref.version for ref in refs) == [1, 2, 3, 4, 5, 6]


async def test_what_cannot_decide_is_not_published(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await PolicySets(objects).publish(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PolicyInvalid, match=r"no \*\.rego"):
        await PolicySets(objects).publish(tmp_path / "empty")
    old = policies(tmp_path / "old", "x")
    (old / "b.rego").write_text('package main\ndeny[msg] { msg := "x" }\n', encoding="utf-8")
    with pytest.raises(PolicyInvalid) as caught:
        await PolicySets(objects).publish(old)
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [("b.rego", 2)]
    assert await PolicySets(objects).current() is None


async def test_a_set_that_was_changed_in_the_store_is_not_used(objects: Objects, tmp_path: Path) -> None:
    await PolicySets(objects).publish(policies(tmp_path / "p", "one"))
    key = "policy-sets/00000001"
    await objects.put(key, (await objects.get(key)).replace(b"deny contains", b"warn contains"))
    with pytest.raises(ObjectCorrupt):
        await PolicySets(objects).current()


async def test_a_number_nobody_gave_is_not_found(objects: Objects) -> None:
    with pytest.raises(NotFound, match="policy set 7"):
        await PolicySets(objects).get(7)
