"""The object store on a real S3: as the local one, and two writers of one state never both win."""

from __future__ import annotations

import asyncio

import pytest
from object_store_suite import ObjectStoreSuite

from bondstone.base.errors import StoreError
from bondstone.base.settings import Settings
from bondstone.store import Store
from bondstone.store.objects import Objects
from harness.servers.s3 import S3

pytestmark = pytest.mark.integration


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, in an environment that has all there is to know of the server."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return s3.new_bucket()


@pytest.fixture(params=["", "/some/prefix"])
async def objects(request: pytest.FixtureRequest, bucket: str) -> Objects:
    return await Objects.open(bucket + request.param)


class TestS3(ObjectStoreSuite):
    """The suite, on the fixture above."""


async def test_of_writers_in_different_connections_one_wins(bucket: str) -> None:
    writers = [await Objects.open(bucket) for _ in range(8)]
    for race in range(10):
        won = await asyncio.gather(*(one.put_if_absent(f"race/{race}", b"") for one in writers))
        assert sum(won) == 1


async def test_prefixes_of_one_bucket_do_not_see_each_other(bucket: str) -> None:
    one, other = [await Objects.open(f"{bucket}/{prefix}") for prefix in ("one", "other")]
    await one.put("a/b", b"1")
    assert not await other.exists("a/b")
    assert await other.list("a") == []


async def test_wrong_credentials_are_said_as_such_without_them(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter22hunter22")
    objects = await Objects.open(bucket)
    with pytest.raises(StoreError, match="refuses access") as raised:
        await objects.require_put_if_absent()
    assert "hunter22" not in str(raised.value)


async def test_a_bucket_that_is_not_there_is_said(bucket: str) -> None:
    objects = await Objects.open(f"{bucket}-none")
    with pytest.raises(StoreError):
        await objects.require_put_if_absent()


async def test_secrets_and_their_keys_come_back_from_another_process(bucket: str, tmp_path) -> None:
    settings = Settings(data=tmp_path, store=bucket)
    await Store.open(settings, create_keys=True)
    again = await Store.open(settings)
    await again.objects.put("a", b"1")
    assert await (await Store.open(settings)).objects.get("a") == b"1"
