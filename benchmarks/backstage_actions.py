"""How long the list of actions takes, which Backstage asks for before every step of a template.

python -m benchmarks.backstage_actions [--lists 500]

The API of this process, asked over HTTP with the token of a plugin that has a person inside. Both are signed by a
key of our own, which a small server publishes as Backstage does, and both are verified anew each time. It needs no
Backstage; `benchmarks.backstage_stock` asks the same with the token of a real one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from benchmarks import report
from benchmarks.report import Report
from bondstone.identity.backstage_tokens import PERSON_TYPE, PLUGIN_TYPE
from harness.light_api import serving
from harness.servers.backstage.configuration import Secrets, bondstone_settings
from harness.servers.process import LOOPBACK

ACTIONS: Final = "/backstage/.backstage/actions/v1/actions"
AT_MOST_MS: Final = 10.0
WARM: Final = 20
"""Lists before the first that counts: keys and groups are read then."""
_KEY: Final = ec.generate_private_key(ec.SECP256R1())


class _Backstage(BaseHTTPRequestHandler):
    """Publishes the key, and knows every person."""

    def do_GET(self) -> None:
        """Answer."""
        key = {**json.loads(ECAlgorithm.to_jwk(_KEY.public_key())), "kid": "k1", "alg": "ES256"}
        body = json.dumps({"keys": [key], "relations": []}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _signed(kind: str, **claims: object) -> str:
    now = int(time.time())
    headers = {"typ": kind, "kid": "k1"}
    return jwt.encode({"iat": now, "exp": now + 3600, **claims}, _KEY, algorithm="ES256", headers=headers)


@contextmanager
def _publishing() -> Iterator[str]:
    server = ThreadingHTTPServer((LOOPBACK, 0), _Backstage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        server.shutdown()


async def measure(options: argparse.Namespace) -> Report:
    """One platform, one caller."""
    done = Report("the list of actions")
    with tempfile.TemporaryDirectory() as name, _publishing() as url:
        files = Secrets(Path(name))
        files.make()
        told: dict[str, Any] = json.loads(bondstone_settings(url, files)["BOND_BACKSTAGE"])
        with serving(Path(name) / "data", backstage=told, rate=10_000) as settings:
            person = _signed(PERSON_TYPE, sub="user:default/ada")
            token = _signed(PLUGIN_TYPE, sub="scaffolder", aud="bondstone", obo=person)
            headers = {"Authorization": f"Bearer {token}"}
            took = []
            with httpx2.Client(base_url=settings.api, headers=headers, trust_env=False) as client:
                for _ in range(WARM + options.lists):
                    began = time.monotonic()
                    client.get(ACTIONS).raise_for_status()
                    took.append(1000 * (time.monotonic() - began))
    done.add("a list of actions", "ms", *took[WARM:], at_most=AT_MOST_MS)
    return done


def main() -> None:
    """The command."""
    parser = report.parser(__doc__)
    parser.add_argument("--lists", type=int, default=500, help="how many (default: %(default)s)")
    report.run(parser.parse_args(), measure)


if __name__ == "__main__":
    main()
