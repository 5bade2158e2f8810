"""The second container of a Job prints the output of the first, sealed: `python -m …collector NAME OUTPUT KEY`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from bondstone.activities.container.jobs.frames import Collected, sealed_lines
from bondstone.activities.container.plain_files import MAX_FILE_BYTES, read_plain_file

FILES: Final = ("plan.json", "outputs.json")


def main(name: str, output: str, key_file: str) -> None:
    """Print what an image has written.

    Args:
        name: Of the Job.
        output: The directory.
        key_file: What to seal it with.
    """
    files: dict[str, bytes] = {}
    problem = ""
    for file in FILES:
        try:
            data = read_plain_file(Path(output, file))
        except (OSError, ValueError) as error:
            problem = problem or f"{file} is not a plain file of at most {MAX_FILE_BYTES >> 10} KiB: {error}"
            continue
        if data is not None:
            files[file] = data
    for line in sealed_lines(Collected(files, problem), Path(key_file).read_bytes(), name):
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
