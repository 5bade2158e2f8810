"""Published revisions: never changed, found again, checked on the way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from promise_samples import edited, write_promise

from bondstone.base.errors import InvalidInput, NotFound, ObjectCorrupt, Refused, RevisionConflict
from bondstone.model.service import RevisionRef
from bondstone.promise.bundle import Bundle, pack
from bondstone.promise.load import load_promise
from bondstone.store.objects import Objects
from bondstone.store.revisions import Revisions, parse_revision


@pytest.fixture
async def objects() -> Objects:
    return await Objects.open("memory:///")


@pytest.fixture
def revisions(objects: Objects) -> Revisions:
    return Revisions(objects)


async def _publish(revisions: Revisions, folder: Path, version: str = "1.4.0", extra: str = "") -> RevisionRef:
    write_promise(folder, edited(("1.4.0", version)) + extra)
    return await revisions.publish(pack(folder), load_promise(folder), by="ada")


async def test_a_published_revision_is_found_and_read(revisions: Revisions, tmp_path: Path) -> None:
    ref = await _publish(revisions, tmp_path / "p")
    info = await revisions.get("postgres", "1.4.0")
    assert (info.ref, info.status, info.published_by, info.owner) == (ref, "active", "ada", "data-platform")
    assert (await revisions.promise(ref)) == load_promise(tmp_path / "p")
    assert await revisions.names() == ["postgres"]


async def test_the_same_content_again_changes_nothing(revisions: Revisions, tmp_path: Path) -> None:
    await _publish(revisions, tmp_path / "p")
    first = await revisions.get("postgres", "1.4.0")
    (tmp_path / "p" / "terraform" / "terraform.tfstate").write_text("ignored")
    ref, new = await revisions.publish_once(pack(tmp_path / "p"), load_promise(tmp_path / "p"), by="bob")
    assert (ref, new) == (first.ref, False)
    assert await revisions.get("postgres", "1.4.0") == first


async def test_rule_8_other_content_under_the_same_version_is_refused(
    revisions: Revisions, tmp_path: Path
) -> None:
    first = await _publish(revisions, tmp_path / "p")
    with pytest.raises(RevisionConflict, match=r"postgres@1\.4\.0 is published with other content"):
        await _publish(revisions, tmp_path / "q", extra="# changed\n")
    assert (await revisions.get("postgres", "1.4.0")).ref == first


async def test_of_many_who_publish_at_once_one_wins(objects: Objects, tmp_path: Path) -> None:
    async def one(number: int) -> str:
        try:
            return (await _publish(Revisions(objects), tmp_path / f"p{number}", extra=f"# {number}\n")).digest
        except RevisionConflict:
            return ""

    results = await asyncio.gather(*(one(number) for number in range(8)))
    assert len([digest for digest in results if digest]) == 1
    assert (await Revisions(objects).get("postgres", "1.4.0")).ref.digest in results


async def test_the_newest_is_the_highest_version_and_no_prerelease(revisions: Revisions, tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "2.0.0-rc.1", "1.2.0"):
        await _publish(revisions, tmp_path / version, version)
    assert (await revisions.newest("postgres")).ref.version == "1.10.0"
    assert [info.ref.version for info in await revisions.list("postgres")] == [
        "2.0.0-rc.1", "1.10.0", "1.9.0", "1.2.0",
    ]  # fmt: skip
    await revisions.deprecate("postgres", "1.10.0", "slow", "ada")
    await revisions.yank("postgres", "1.9.0", "broken", "ada")
    assert (await revisions.newest("postgres")).ref.version == "1.2.0"
    await revisions.yank("postgres", "1.2.0", "old", "ada")
    assert (await revisions.newest("postgres")).ref.version == "2.0.0-rc.1"
    await revisions.yank("postgres", "2.0.0-rc.1", "no", "ada")
    with pytest.raises(NotFound, match="every revision of postgres is deprecated or yanked"):
        await revisions.newest("postgres")


async def test_rule_8_a_status_never_changes_the_revision(
    revisions: Revisions, objects: Objects, tmp_path: Path
) -> None:
    ref = await _publish(revisions, tmp_path / "p")
    before = await objects.get("revisions/postgres/1.4.0")
    info = await revisions.deprecate("postgres", "1.4.0", "use 1.5.0", "ada")
    assert (info.status, info.reason, info.status_by, info.ref) == ("deprecated", "use 1.5.0", "ada", ref)
    info = await revisions.yank("postgres", "1.4.0", "it is worse", "bob")
    assert (info.status, info.reason, info.status_by) == ("yanked", "it is worse", "bob")
    assert await objects.get("revisions/postgres/1.4.0") == before
    with pytest.raises(Refused, match="is yanked already"):
        await revisions.deprecate("postgres", "1.4.0", "again", "ada")
    with pytest.raises(InvalidInput, match="a reason is needed"):
        await revisions.yank("postgres", "1.4.0", "  ", "ada")


async def test_what_is_not_there_is_said_with_what_is(revisions: Revisions, tmp_path: Path) -> None:
    await _publish(revisions, tmp_path / "p")
    with pytest.raises(NotFound) as caught:
        await revisions.get("postgres", "9.9.9")
    assert (caught.value.message, caught.value.hint) == ("postgres has no version 9.9.9", "there is 1.4.0")
    with pytest.raises(NotFound) as caught:
        await revisions.newest("postgrs")
    assert caught.value.hint == "did you mean 'postgres'?"
    with pytest.raises(InvalidInput):
        await revisions.get("../secrets", "1.4.0")
    with pytest.raises(InvalidInput):
        await revisions.get("postgres", "../1.4.0")


async def test_a_bundle_is_checked_against_its_digest(
    revisions: Revisions, objects: Objects, tmp_path: Path
) -> None:
    ref = await _publish(revisions, tmp_path / "p")
    data = await objects.get(f"bundles/{ref.digest}")
    await objects.put(f"bundles/{ref.digest}", data.replace(b"managed", b"mangled"))
    with pytest.raises(ObjectCorrupt, match="does not match its digest"):
        await revisions.promise(ref)
    with pytest.raises(ObjectCorrupt, match="does not match its digest"):
        await revisions.materialise(ref, tmp_path / "cache")


async def test_a_reference_to_the_bundle_of_another_revision_is_refused(
    revisions: Revisions, tmp_path: Path
) -> None:
    ref = await _publish(revisions, tmp_path / "p")
    with pytest.raises(ObjectCorrupt, match="not of mysql"):
        await revisions.promise(ref.changed(promise="mysql"))


async def test_a_revision_is_unpacked_once_per_digest(
    revisions: Revisions, objects: Objects, tmp_path: Path
) -> None:
    ref = await _publish(revisions, tmp_path / "p")
    folders = await asyncio.gather(*(revisions.materialise(ref, tmp_path / "cache") for _ in range(4)))
    assert set(folders) == {tmp_path / "cache" / ref.digest}
    assert (folders[0] / "promise.yaml").read_bytes() == (tmp_path / "p" / "promise.yaml").read_bytes()
    await objects.delete(f"bundles/{ref.digest}")
    assert await revisions.materialise(ref, tmp_path / "cache") == folders[0]


@pytest.mark.parametrize("deed", ["edit", "add", "remove", "link", "swap"])
async def test_a_revision_that_was_changed_on_disk_is_unpacked_anew(
    revisions: Revisions, tmp_path: Path, deed: str
) -> None:
    ref = await _publish(revisions, tmp_path / "p")
    folder = await revisions.materialise(ref, tmp_path / "cache")
    file = folder / "promise.yaml"
    good = file.read_bytes()
    for path in (folder, file):
        path.chmod(0o700)
    if deed == "edit":
        file.write_bytes(good.replace(b"small", b"large"))
    elif deed == "add":
        (folder / "evil_override.tf").write_text("")
    elif deed == "remove":
        file.unlink()
    elif deed == "link":
        file.unlink()
        file.symlink_to(tmp_path / "p" / "promise.yaml")
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()
    for again in (revisions, Revisions(revisions._objects)):
        results = await asyncio.gather(*(again.materialise(ref, tmp_path / "cache") for _ in range(3)))
        assert set(results) == {folder}
        assert not file.is_symlink()
        assert file.read_bytes() == good
        assert not (folder / "evil_override.tf").exists()


async def test_a_publish_that_died_half_way_can_be_done_again(
    revisions: Revisions, objects: Objects, tmp_path: Path
) -> None:
    bundle: Bundle = pack(write_promise(tmp_path))
    await objects.put(f"bundles/{bundle.digest}", bundle.data)
    ref, new = await revisions.publish_once(bundle, load_promise(tmp_path), by="ada")
    assert (ref.digest, new) == (bundle.digest, True)


def test_a_revision_is_named_with_or_without_version() -> None:
    assert parse_revision("postgres") == ("postgres", "")
    assert parse_revision("postgres@1.4.0-rc.1+b5") == ("postgres", "1.4.0-rc.1+b5")
    for text in ("postgres@1.4", "postgres@", "Postgres", "@1.0.0"):
        with pytest.raises(InvalidInput):
            parse_revision(text)
