"""The tour of the README, run as it stands there: by a test that compares, and by hand to write it anew.

python -m harness.readme_tour    run the tour on a platform of its own and write what it prints into README.md
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
README: Final = ROOT / "README.md"
HEADING: Final = "## A tour\n"
SECONDS: Final = 300

_BLOCK: Final = re.compile(r"```console\n(.*?)```\n", re.DOTALL)
_PROGRESS: Final = re.compile(r"^ +\d+\.\d+s  .*$")
_CHANGING: Final = (
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC|Z)", "TIME"),
    (r"\d\d:\d\d UTC", "TIME"),
    (r"\b\d+(\.\d+)? ?s\b|\b\d+[mhd](\d+[smh])?\b", "AGE"),
    (r"\b[0-9a-f]{12,64}\b", "DIGEST"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r" +", " "),
)
"""What differs from one run to the next."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tour, and what it prints."""

    command: str
    printed: str


def tour(text: str) -> list[Step]:
    """The commands of the README's tour, in order, each with what stands below it."""
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    steps = []
    for block in _BLOCK.findall(section):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            steps.append(Step(command, printed.rstrip("\n")))
    return steps


def run(steps: list[Step], home: Path) -> list[Step]:
    """Run commands in one shell, whose home is empty; each with what it printed, on both streams.

    Args:
        steps: What to run; what each printed before does not matter.
        home: A directory for the shell's home; paths below it are printed with `~`.
    """
    script = "".join(f"{step.command}\nprintf '\\n@@ %s\\n' {number}\n" for number, step in enumerate(steps))
    environment = {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BOND_", "XDG_", "TEMPORAL_"))
        },
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "BOND_UP_PORT": "0",
        "LOGNAME": "ada",
        "TZ": "UTC",
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment, text=True, timeout=SECONDS, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    parts = re.split(r"\n?@@ \d+\n", done.stdout)
    printed = [part.strip("\n").replace(str(home), "~").replace("////~", "///~") for part in parts]
    return [Step(step.command, text) for step, text in zip(steps, printed, strict=False)]


def stable(printed: str) -> list[str]:
    """The lines that are the same in every run: without progress, times, digests and ports."""
    lines = [line for line in printed.splitlines() if not _PROGRESS.match(line)]
    for pattern, word in _CHANGING:
        lines = [re.sub(pattern, word, line) for line in lines]
    return [line.rstrip() for line in lines]


def main() -> int:
    """Write the tour anew; the exit code."""
    text = README.read_text(encoding="utf-8")
    steps = tour(text)
    with tempfile.TemporaryDirectory() as home:
        try:
            ran = run(steps, Path(home))
        finally:
            run([Step("bond down", "")], Path(home))
    for before, after in zip(steps, ran, strict=True):
        shown = after.printed if stable(before.printed) != stable(after.printed) else before.printed
        old = f"$ {before.command}\n{before.printed}".rstrip("\n") + "\n"
        text = text.replace(old, f"$ {after.command}\n{shown}".rstrip("\n") + "\n", 1)
    README.write_text(text, encoding="utf-8")
    print(f"{len(ran)} commands in {README.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
