"""Files that were uploaded: errors name them as the caller knows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bondstone.base.errors import BondError, from_info


@contextmanager
def named_as(directory: Path, name: str) -> Iterator[None]:
    """Errors name files relative to a folder of this process, and the folder by a name.

    Args:
        directory: Where the files were put.
        name: What messages call it.
    """
    try:
        yield
    except BondError as error:
        info = error.info()
        problems = tuple(
            problem.changed(file=problem.file.removeprefix(f"{directory}/")) for problem in info.problems
        )
        where = info.where.replace(f"{directory}/", "").replace(str(directory), name)
        raise from_info(info.changed(problems=problems, where=where)) from error
