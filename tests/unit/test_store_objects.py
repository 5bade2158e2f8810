"""Every kind of object store behaves alike; the local one is private and durable besides."""

import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from object_store_suite import ObjectStoreSuite

from bondstone.base.errors import SettingsInvalid, StoreUnavailable
from bondstone.store import objects as objects_module
from bondstone.store.objects import Objects, check_key, segment


@pytest.fixture(params=["memory", "file"])
async def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """One store of each kind; S3 has a file of its own, for it needs a server."""
    urls = {"memory": "memory:///", "file": (tmp_path / "deep" / "objects").as_uri()}
    return await Objects.open(urls[request.param])


class TestMemoryAndFile(ObjectStoreSuite):
    """The suite, on the fixture above."""


@given(st.text(max_size=300))
def test_any_text_becomes_one_segment(text: str) -> None:
    assert check_key(segment(text)) == segment(text)
    assert "/" not in segment(text)


@given(st.text(max_size=40), st.text(max_size=40))
def test_different_texts_become_different_segments(one: str, other: str) -> None:
    assert (segment(one) == segment(other)) is (one == other)


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
    with pytest.raises(StoreUnavailable, match="is full"):
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


@contextmanager
def _answering(status: int) -> Iterator[str]:
    """A server that answers every put alike, whatever its conditions; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("ETag", '"1"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def an_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[str]]:
    """See `_answering`; the environment says that it is our S3."""

    @contextmanager
    def answering(status: int) -> Iterator[str]:
        with _answering(status) as url:
            for name, value in {
                "AWS_ENDPOINT_URL": url,
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "eu",
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "x",
            }.items():
                monkeypatch.setenv(name, value)
            monkeypatch.setattr(objects_module, "_RETRIES", 0)
            yield url

    return answering


@pytest.mark.parametrize(("status", "why"), [(200, "replaces an object"), (501, "refuses conditional requests")])
async def test_a_store_without_conditional_puts_is_refused(an_s3, status: int, why: str) -> None:
    with an_s3(status):
        objects = await Objects.open("s3://bucket/prefix")
        with pytest.raises(SettingsInvalid, match=why) as raised:
            await objects.require_put_if_absent()
    assert raised.value.where == "store"
    assert raised.value.hint


async def test_a_store_told_to_put_without_conditions_is_refused(an_s3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    with an_s3(200):
        objects = await Objects.open("s3://bucket/prefix")
        with pytest.raises(SettingsInvalid, match="AWS_CONDITIONAL_PUT is set"):
            await objects.require_put_if_absent()


async def test_a_store_that_fails_is_not_taken_for_one_without_conditional_puts(an_s3) -> None:
    with an_s3(503):
        objects = await Objects.open("s3://bucket/prefix")
        with pytest.raises(StoreUnavailable):
            await objects.require_put_if_absent()
