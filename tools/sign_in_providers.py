"""Install the sign-in providers of the tests: `make sign-in-providers`, or `python -m tools.sign_in_providers`.

Both are real providers that we do not ship: one in Python, which needs 3.12, one on Node. Each gets a folder of
its own below `.tools`, from pins with hashes; a second run has nothing to do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from harness.providers import NODE_PROVIDER, NODE_SOURCE, PYTHON_PINS, PYTHON_PROVIDER
from tools import own_environment

OLDEST: Final = (3, 12)
_VERSIONS: Final = ("python3.12", "python3.13", "python3.14", "python3")


def main() -> int:
    """Install what is missing; the exit status."""
    with own_environment.locked(PYTHON_PROVIDER.parent):
        return max(_install_python(), _install_node())


def _install_python() -> int:
    interpreter = _interpreter()
    if interpreter is None:
        print(f"oidc-provider-mock needs Python {'.'.join(map(str, OLDEST))}, and there is none", file=sys.stderr)
        return 1
    own_environment.install(PYTHON_PROVIDER, PYTHON_PINS, interpreter)
    return 0


def _install_node() -> int:
    mark = own_environment.fingerprint(NODE_SOURCE / "package-lock.json")
    if own_environment.is_current(NODE_PROVIDER, mark):
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
    own_environment.finish(NODE_PROVIDER, mark)
    return 0


def _interpreter() -> str | None:
    """A Python that is new enough: on PATH, else one that pyenv keeps."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin/python"))
    for name in (*_VERSIONS, *map(str, kept)):
        path = shutil.which(name)
        check = f"import sys, venv; sys.exit(sys.version_info < {OLDEST})"
        if path and subprocess.run([path, "-c", check], capture_output=True, check=False).returncode == 0:
            return path
    return None


if __name__ == "__main__":
    sys.exit(main())
