"""Fetch the scripts of the console from npm's published package: `python -m tools.vendor_console`.

The package is pinned by version and integrity. The files are written as they are published, below
`bondstone/console/static/vendor/`, with a note of where they came from. It needs `npm`; the console does not.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "htmx.org@4.0.1"
INTEGRITY: Final = (
    "sha512-oF7JgXhDW9UXCy/k1ZYFUQgzu/rm19ORWPSPNL91vPluB2PB9+MV55tyQdH/w7o2EAbTYUG5SDW1R60mdkdqGg=="
)
LICENCE: Final = "BSD-0-Clause"
FILES: Final = ("dist/htmx.min.js", "dist/ext/hx-sse.min.js", "dist/ext/hx-csp.min.js")
TARGET: Final = Path(__file__).parent.parent / "bondstone" / "console" / "static" / "vendor"


def main() -> int:
    """Fetch, check, and write; the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        ran = subprocess.run(
            ["npm", "pack", "--json", PACKAGE], cwd=scratch, check=True, capture_output=True, text=True
        )
        archive = Path(scratch) / json.loads(ran.stdout)[0]["filename"]
        digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            print(f"{PACKAGE} has another integrity: {digest}", file=sys.stderr)
            return 1
        TARGET.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as package:
            for name in FILES:
                member = package.extractfile(f"package/{name}")
                if member is None:
                    print(f"{PACKAGE} has no {name}", file=sys.stderr)
                    return 1
                (TARGET / Path(name).name).write_bytes(member.read())
    note = f"Fetched from {PACKAGE} ({LICENCE}) by `python -m tools.vendor_console`; {INTEGRITY}. Do not edit.\n"
    (TARGET / "README").write_text(note, encoding="utf-8")
    print(f"wrote {len(FILES)} files of {PACKAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
