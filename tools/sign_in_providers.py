"""Install the sign-in providers of the tests: `make sign-in-providers`, or `python -m tools.sign_in_providers`.

Both are real providers that we do not ship: one in Python, which needs 3.12, one on Node. Each gets a folder of
its own below `.tools`, from pins with hashes; a second run has nothing to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from harness.providers import NODE_PROVIDER, NODE_SOURCE, PYTHON_PINS, PYTHON_PROVIDER

OLDEST: Final = (3, 12)
_VERSIONS: Final = ("python3.12", "python3.13", "python3.14", "python3")


def main() -> int:
    """Install what is missing; the exit status."""
    PYTHON_PROVIDER.parent.mkdir(parents=True, exist_ok=True)
    with (PYTHON_PROVIDER.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return max(_install_python(), _install_node())


def _install_python() -> int:
    pins = hashlib.sha256(PYTHON_PINS.read_bytes()).hexdigest()
    if _is_current(PYTHON_PROVIDER, pins):
        return 0
    interpreter = _interpreter()
    if interpreter is None:
        print(f"oidc-provider-mock needs Python {'.'.join(map(str, OLDEST))}, and there is none", file=sys.stderr)
        return 1
    shutil.rmtree(PYTHON_PROVIDER, ignore_errors=True)
    subprocess.run([interpreter, "-m", "venv", PYTHON_PROVIDER], check=True)
    pip = [PYTHON_PROVIDER / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*map(str, pip), "--require-hashes", "-r", str(PYTHON_PINS)], check=True)
    return _done(PYTHON_PROVIDER, pins)


def _install_node() -> int:
    pins = hashlib.sha256((NODE_SOURCE / "package-lock.json").read_bytes()).hexdigest()
    if _is_current(NODE_PROVIDER, pins):
        return 0
    npm = shutil.which("npm")
    if npm is None:
        print("oidc-provider needs Node 20 with npm, and there is none", file=sys.stderr)
        return 1
    shutil.rmtree(NODE_PROVIDER, ignore_errors=True)
    NODE_PROVIDER.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(NODE_SOURCE / name, NODE_PROVIDER)
    subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=NODE_PROVIDER, check=True)
    return _done(NODE_PROVIDER, pins)


def _interpreter() -> str | None:
    """A Python that is new enough: on PATH, else one that pyenv keeps."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python"))
    for name in (*_VERSIONS, *map(str, kept)):
        path = shutil.which(name)
        check = f"import sys, venv; sys.exit(sys.version_info < {OLDEST})"
        if path and subprocess.run([path, "-c", check], capture_output=True, check=False).returncode == 0:
            return path
    return None


def _is_current(folder: Path, pins: str) -> bool:
    try:
        return (folder / ".pins").read_text(encoding="utf-8") == pins
    except OSError:
        return False


def _done(folder: Path, pins: str) -> int:
    new = folder / ".pins.new"
    new.write_text(pins, encoding="utf-8")
    os.replace(new, folder / ".pins")  # noqa: PTH105 - as said
    print(f"{folder.name}: installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
