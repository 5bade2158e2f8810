"""Real OpenID Connect providers for tests; `make sign-in-providers` installs them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx2

from harness.servers.process import LOOPBACK, Server, free_port

ROOT: Final = Path(__file__).parents[2]
NODE_SOURCE: Final = Path(__file__).parent / "node"
PYTHON_PINS: Final = ROOT / "requirements" / "sign-in-provider.txt"
PYTHON_PROVIDER: Final = ROOT / ".tools" / "sign-in" / "python"
NODE_PROVIDER: Final = ROOT / ".tools" / "sign-in" / "node"
HOW: Final = "run `make tools`, which installs it where there is Python 3.12 and Node 20"


def missing_python() -> str:
    """Why the provider in Python cannot be started; empty when it can."""
    return "" if (PYTHON_PROVIDER / ".pins").exists() else f"oidc-provider-mock is not installed: {HOW}"


def missing_node() -> str:
    """Why the provider on Node cannot be started; empty when it can."""
    installed = (NODE_PROVIDER / ".pins").exists() and shutil.which("node")
    return "" if installed else f"npm's oidc-provider is not installed: {HOW}"


@contextmanager
def python_provider(directory: Path) -> Iterator[str]:
    """One with ada of the group `platform` and eve of the group `payments`; its issuer.

    Args:
        directory: For its log.
    """
    script = Path(__file__).with_name("python_provider.py")
    with _running("oidc-provider-mock", [PYTHON_PROVIDER / "bin" / "python", script], directory) as issuer:
        yield issuer


@contextmanager
def node_provider(directory: Path, *, token_seconds: int = 300, callback: str = "") -> Iterator[str]:
    """One with the device grant, where everybody may sign in; its issuer.

    Args:
        directory: For its log.
        token_seconds: How long its ID tokens live.
        callback: Of the second client, `backstage`, which has a secret.
    """
    script = NODE_PROVIDER / "provider.mjs"  # Node looks for packages beside the script
    shutil.copy(NODE_SOURCE / "provider.mjs", script)
    more = [callback] if callback else []
    with _running("oidc-provider", ["node", script], directory, str(token_seconds), *more) as issuer:
        yield issuer


@contextmanager
def _running(name: str, command: Sequence[str | Path], directory: Path, *more: str) -> Iterator[str]:
    port = free_port()
    issuer = f"http://{LOOPBACK}:{port}"

    def serves() -> bool:
        try:
            return httpx2.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).is_success
        except httpx2.HTTPError:
            return False

    arguments = [*map(str, command), str(port), *more]
    server = Server(name=name, arguments=arguments, log=directory / f"{name}.log", ready=serves)
    server.start()
    try:
        yield issuer
    finally:
        server.kill()
