"""Fixtures of the tests that need a platform but do not harm it: one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from platforms import PROMISES, REQUIRED, LocalPlatform, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """A platform with the promise `patient`; tests use services of their own and leave the platform running.

    It requires attestations, so that all that is tested there is tested with them.
    """
    with running(tmp_path_factory.mktemp("platform") / "data", REQUIRED) as local:
        local.bond("promise", "publish", str(PROMISES / "patient"))
        yield local
        local.bond("ledger", "verify")
