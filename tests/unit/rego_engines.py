"""The engines that tests of policies ask, each by what `BOND_OPA` says to have it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bondstone.rego.choice import EMBEDDED
from harness.pinned import ToolMissing, find

ENGINES = (EMBEDDED, "opa")


@contextmanager
def deciding(name: str) -> Iterator[str]:
    """Have an engine decide; skips by name where there is no such one."""
    try:
        value = EMBEDDED if name == EMBEDDED else str(find("opa"))
    except ToolMissing as error:
        pytest.skip(str(error))
    before = os.environ.get("BOND_OPA")
    os.environ["BOND_OPA"] = value
    try:
        yield name
    finally:
        if before is None:
            del os.environ["BOND_OPA"]
        else:
            os.environ["BOND_OPA"] = before
