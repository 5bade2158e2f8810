"""Fixtures of the tests that need a platform but do not harm it: one for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from platforms import PROMISES, REQUIRED, LocalPlatform, running


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    """A platform with two promises; tests use services of their own and leave the platform running.

    `patient` has two steps, each by Terraform; `plain` runs no tool, for tests of what does not depend on one. The
    platform requires attestations, so that all that is tested there is tested with them. It has two pools.
    """
    settings = REQUIRED | {"BOND_POOLS": '["default","east"]'}
    with running(tmp_path_factory.mktemp("platform") / "data", settings) as local:
        for name in ("patient", "plain"):
            local.bond("promise", "publish", str(PROMISES / name))
        yield local
        local.bond("ledger", "verify")
