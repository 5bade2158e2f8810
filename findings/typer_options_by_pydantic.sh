#!/usr/bin/env bash
# Typer: a command with a text option imports pydantic each time it runs.
#
# Versions: typer 0.29.2 and 0.28.0, Python 3.11. It began with 0.29.0.
# Guess: Typer stands on Click alone, so a small command starts in the time of Click.
# Seen: 0.29.2 needs pydantic and reads every option that is no flag by one of its type adapters, imported when the command
# runs and not with `import typer`; 0.28.0 neither needs nor imports it. Exits 1 when that changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/command.py" <<'PYTHON'
import sys

import typer

app = typer.Typer()
first = "pydantic" in sys.modules


@app.command()
def main(text: str = "") -> None:
    print(f"with typer: {first}; when the command runs: {'pydantic' in sys.modules}")


app()
PYTHON
for version in 0.29.2 0.28.0; do
    python3.11 -m venv "$work/$version"
    "$work/$version/bin/pip" install --quiet --disable-pip-version-check "typer==$version"
    echo "$version: $("$work/$version/bin/python" "$work/command.py")" | tee -a "$work/seen"
done
grep -q '^0.29.2: with typer: False; when the command runs: True$' "$work/seen"
grep -q '^0.28.0: with typer: False; when the command runs: False$' "$work/seen"
