"""Bundles: the same bytes from the same files, and nothing bad on the way out."""

from __future__ import annotations

import io
import multiprocessing
import os
import random
import stat
import tarfile
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bondstone.base.errors import ObjectCorrupt, PromiseInvalid, StoreUnavailable
from bondstone.promise import bundle
from bondstone.promise.bundle import pack, read_member, unpack

NAME = st.text("abcdefghijklmnop-_.éß", min_size=1, max_size=12).filter(
    lambda name: name not in {".", ".."} and not any(fnmatch(name, pattern) for pattern in bundle.IGNORED)
)
TREE = st.dictionaries(
    st.tuples(NAME, NAME).map("/".join) | NAME.map(lambda name: f"top-{name}"), st.binary(max_size=80)
)


def _write(root: Path, files: dict[str, bytes], seed: int) -> Path:
    """Write files in an order, with modes and times, that depend on the seed."""
    chance = random.Random(seed)  # noqa: S311 - variety, not secrecy
    root.mkdir()
    names = list(files)
    chance.shuffle(names)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
        path.chmod(chance.choice([0o600, 0o644, 0o755]))
        os.utime(path, (chance.randrange(10**9), chance.randrange(10**9)))
    return root


@given(TREE, st.integers(), st.integers())
@settings(max_examples=40, deadline=None)
def test_the_same_files_give_the_same_bytes(files: dict[str, bytes], one: int, other: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        before = os.umask(0o077)
        try:
            first = pack(_write(Path(scratch) / "a", files, one))
            os.umask(0o002)
            second = pack(_write(Path(scratch) / "b-elsewhere", files, other))
        finally:
            os.umask(before)
    assert first == second


def test_the_order_in_which_a_disk_lists_files_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _write(tmp_path / "a", {"a/x": b"1", "a/y": b"2", "b/x": b"3", "c": b"4"}, 0)
    first = pack(root)
    listed = [(parent, list(folders), list(names)) for parent, folders, names in os.walk(root)]
    backwards = [(parent, folders[::-1], names[::-1]) for parent, folders, names in reversed(listed)]
    monkeypatch.setattr(bundle.os, "walk", lambda _root: iter(backwards))
    assert pack(root) == first


@given(TREE)
@settings(max_examples=20, deadline=None)
def test_what_is_packed_comes_out(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        packed = pack(_write(Path(scratch) / "a", files, 0))
        out = Path(scratch) / "out"
        unpack(packed.data, out)
        result = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        assert result == files
        assert pack(out) == packed
        bundle.remove(out)


def test_another_byte_gives_another_digest(tmp_path: Path) -> None:
    one = pack(_write(tmp_path / "a", {"promise.yaml": b"a"}, 0))
    other = pack(_write(tmp_path / "b", {"promise.yaml": b"b"}, 0))
    assert one.digest != other.digest


def test_leftovers_of_tools_are_not_packed(tmp_path: Path) -> None:
    kept = {"promise.yaml": b"x", "terraform/.terraform.lock.hcl": b"lock"}
    left = {
        ".git/config": b"", "terraform/.terraform/x": b"", "terraform/terraform.tfstate": b"secret",
        "terraform/terraform.tfstate.backup": b"secret", "terraform/terraform.tfstate.1.backup": b"s",
        "a/__pycache__/x.pyc": b"", ".DS_Store": b"",
    }  # fmt: skip
    assert pack(_write(tmp_path / "a", {**kept, **left}, 1)) == pack(_write(tmp_path / "b", kept, 2))


def test_a_link_inside_is_packed_as_the_file_it_leads_to(tmp_path: Path) -> None:
    root = _write(tmp_path / "a", {"real.tf": b"content"}, 0)
    (root / "link.tf").symlink_to("real.tf")
    assert read_member(pack(root).data, "link.tf") == b"content"


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside", "../../etc"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("x")
    root = _write(tmp_path / "a", {"promise.yaml": b""}, 0)
    (root / "link").symlink_to(target)
    with pytest.raises(PromiseInvalid, match="link"):
        pack(root)


def test_pipes_are_refused_rather_than_waited_for(tmp_path: Path) -> None:
    root = _write(tmp_path / "a", {"promise.yaml": b""}, 0)
    os.mkfifo(root / "pipe")
    with pytest.raises(PromiseInvalid, match="pipe: not a regular file"):
        pack(root)


def test_count_and_size_are_bounded_when_packing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _write(tmp_path / "a", {f"f{number}": b"xxxx" for number in range(5)}, 0)
    monkeypatch.setattr(bundle, "MAX_FILES", 4)
    with pytest.raises(PromiseInvalid, match="more than 4 files"):
        pack(root)
    monkeypatch.setattr(bundle, "MAX_FILES", 5)
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 19)
    with pytest.raises(PromiseInvalid, match="larger than"):
        pack(root)


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    return member


@pytest.mark.parametrize(
    "data",
    [
        _tar((_member("../out"), b"x")),
        _tar((_member("a/../../out"), b"x")),
        _tar((_member("/etc/out"), b"x")),
        _tar((_member("a//b"), b"x")),
        _tar((_member("a\\b"), b"x")),
        _tar((_member("link", tarfile.SYMTYPE, "/etc/passwd"), b"")),
        _tar((_member("hard", tarfile.LNKTYPE, "../x"), b"")),
        _tar((_member("dev", tarfile.CHRTYPE), b"")),
        _tar((_member("pipe", tarfile.FIFOTYPE), b"")),
        _tar((_member("twice"), b"1"), (_member("twice"), b"2")),
        _tar((_member("file"), b"1"), (_member("file/below"), b"2")),
        _tar((_member("folder/below"), b"1"), (_member("folder"), b"2")),
        _tar((_member("x" * 400), b"1")),
        b"not a tar",
        _tar((_member("cut"), b"x" * 5000))[:2000],
    ],
    ids=lambda data: repr(data[:16]),
)
def test_a_bad_bundle_leaves_nothing_behind(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ObjectCorrupt):
        unpack(data, tmp_path / "cache" / "digest")
    assert list((tmp_path / "cache").iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_size_and_count_are_bounded_when_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _tar(*((_member(f"f{number}"), b"x" * 100) for number in range(5)))
    monkeypatch.setattr(bundle, "MAX_FILES", 4)
    with pytest.raises(ObjectCorrupt, match="larger than a bundle may be"):
        unpack(data, tmp_path / "a")
    monkeypatch.setattr(bundle, "MAX_FILES", 100)
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 499)
    with pytest.raises(ObjectCorrupt, match="larger than a bundle may be"):
        unpack(data, tmp_path / "b")


def test_what_is_unpacked_is_read_only(tmp_path: Path) -> None:
    unpack(pack(_write(tmp_path / "a", {"d/f": b"x"}, 0)).data, tmp_path / "out")
    modes = [stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in (".", "d", "d/f")]
    assert modes == [0o555, 0o555, 0o444]
    bundle.remove(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_cannot_be_written_is_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="cannot be unpacked") as caught:
        unpack(pack(_write(tmp_path / "a", {"f": b"x"}, 0)).data, tmp_path / "cache" / "digest")
    assert caught.value.transient


def _unpack_often(data: bytes, into: Path, results: multiprocessing.Queue[str]) -> None:
    try:
        unpack(data, into)
        results.put((into / "d/f49").read_text())
    except Exception as error:
        results.put(repr(error))
        raise


def test_many_processes_unpack_one_bundle_at_once(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    data = pack(_write(tmp_path / "a", {f"d/f{number}": b"whole" for number in range(50)}, 0)).data
    into = tmp_path / "cache" / "digest"
    results = spawned.Queue()
    processes = [spawned.Process(target=_unpack_often, args=(data, into, results)) for _ in range(3)]
    for process in processes:
        process.start()
    result = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert result == ["whole"] * 3
    assert [path.name for path in into.parent.iterdir()] == ["digest"]
