"""Files that only their owner may read are made in one place, and so are the names of people of the system."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import bondstone
from bondstone.base.files import create_private, open_lock, write_private

ROOT = Path(bondstone.__file__).parents[1]
SPELT = rf"(?i)600|{0o600}|{0o600:x}|{0o600:b}"
"""The mode, in any base; a module without it is not parsed."""
PRODUCT = ("bondstone", "activities", "workers", "workflows")
ALLOWED = {
    "bondstone/base/files.py",
    "workers/health.py",
}  # the second: an empty file whose time is all that matters


def sources() -> Iterator[tuple[str, str]]:
    for folder in PRODUCT:
        for path in (ROOT / folder).rglob("*.py"):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def opens_private(source: str) -> bool:
    """Whether a module hands the mode to a call, as to `os.open`; members of archives only have it set."""
    return bool(re.search(SPELT, source)) and any(
        isinstance(argument, ast.Constant) and argument.value == 0o600
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords))
    )


def test_no_other_module_opens_a_private_file():
    assert {file for file, source in sources() if opens_private(source)} == ALLOWED
    assert opens_private("os.open(path, flags, 0o600)")
    assert opens_private("os.open(path, flags, 384)")
    assert not opens_private("member.mode = 0o600")


def test_one_module_looks_up_the_user_of_the_system():
    assert [file for file, source in sources() if "getpass.getuser" in source] == ["bondstone/base/actor.py"]


@pytest.mark.parametrize(
    "make", [lambda path: os.close(create_private(path)), lambda path: os.close(open_lock(path)),
             lambda path: write_private(path, b"x")],
)  # fmt: skip
def test_a_private_file_is_for_its_owner_only_whatever_the_mask(tmp_path, make):
    before = os.umask(0)
    try:
        make(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_new_private_file_replaces_none(tmp_path):
    os.close(create_private(tmp_path / "file"))
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "file")
