"""A real S3: versitygw on a directory. Its conditional puts are atomic."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.pinned import find
from harness.servers.process import LOOPBACK, Server, free_port, listens

REGION: Final = "eu-central-1"


@dataclass(frozen=True)
class S3:
    """A running S3 server.

    Args:
        server: Its process, to kill and to start again.
        endpoint: Its URL.
        access_key: Who we are.
        secret_key: The proof.
        root: Each directory in it is a bucket.
    """

    server: Server
    endpoint: str
    access_key: str
    secret_key: str
    root: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables by which every S3 client, and `BOND_STORE=s3://…`, finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    def new_bucket(self) -> str:
        """An empty bucket; its URL."""
        name = f"bond-{secrets.token_hex(8)}"
        (self.root / name).mkdir()
        return f"s3://{name}"


@contextmanager
def running(directory: Path) -> Iterator[S3]:
    """A new S3 server with its data and its log in a directory.

    Raises:
        ToolMissing: `make tools` has not built it.
        ServerFailed: it does not come up.
    """
    root = directory / "buckets"
    root.mkdir()
    port = free_port()
    access_key, secret_key = f"AK{secrets.token_hex(9).upper()}", secrets.token_hex(20)
    server = Server(
        name="versitygw",
        arguments=[
            *(str(find("versitygw")), "--port", f"{LOOPBACK}:{port}", "--region", REGION, "--keep-alive"),
            *("posix", str(root)),
        ],
        log=directory / "versitygw.log",
        ready=listens(port),
        environment={"ROOT_ACCESS_KEY_ID": access_key, "ROOT_SECRET_ACCESS_KEY": secret_key},
    )
    try:
        server.start()
        yield S3(server, f"http://{LOOPBACK}:{port}", access_key, secret_key, root)
    finally:
        server.kill()
