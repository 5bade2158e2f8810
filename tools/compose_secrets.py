"""Make the secrets of `docker-compose.yml`, once: `make compose-secrets`.

Stands on nothing but Python, so that a machine that only runs containers needs no environment for it.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / ".env"


def content() -> str:
    """New secrets, as the variables that the compose file asks for."""
    values = {
        "POSTGRES_PASSWORD": secrets.token_urlsafe(32),
        "S3_ACCESS_KEY": f"BOND{secrets.token_hex(8).upper()}",
        "BOND_CODEC_TOKEN": secrets.token_urlsafe(32),
        "S3_SECRET_KEY": secrets.token_urlsafe(32),
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def main(arguments: list[str]) -> int:
    """Write the file; the exit status."""
    path = Path(arguments[0]) if arguments else FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{path} is there already and stays: the databases were made with what is in it", file=sys.stderr)
        return 0
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("# Made by `make compose-secrets`. Keep a copy where you keep secrets; never commit it.\n")
        file.write(content())
    print(f"wrote {path} (only you can read it)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
