"""Git repositories of a pool: what a worker's settings say of them. Promises name one, and know no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from bondstone.base.errors import SettingsInvalid
from bondstone.base.models import Manifest

_PASSWORD_IN_URL = re.compile(r"^[a-z+]+://[^/@]*:[^/@]*@")


class GitDestination(Manifest):
    """A branch of a repository that steps may push files to, with the git configuration of the worker's user."""

    url: str = Field(min_length=1, max_length=1000)
    """As `git clone` takes it, without a password: git finds the credentials of the worker's user."""
    branch: str = Field(default="main", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}$")
    """What the files are pushed to; it is made by the first push when it is not there."""
    path: str = Field(default="", pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)?$")
    """Folder of the repository that all files go below; empty: the repository itself."""

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.url.startswith("-"):
            raise ValueError("url must not begin with a dash")
        if _PASSWORD_IN_URL.match(self.url):
            raise ValueError("url holds a password: give it to a credential helper of git in its place")
        return self


def git_destination(destinations: Mapping[str, GitDestination], name: str) -> GitDestination:
    """The settings of the destination that a step names.

    Args:
        destinations: Those of the pool.
        name: Of one of them.

    Raises:
        SettingsInvalid: when the pool has none of that name.
    """
    if name in destinations:
        return destinations[name]
    known = f"this pool has {', '.join(sorted(destinations))}" if destinations else "this pool has none"
    raise SettingsInvalid(
        f"the worker knows no git destination named {name!r}: {known}",
        hint="destinations are named in the settings of the executor workers, as in "
        'BOND_GIT_DESTINATIONS=\'{"fleet": {"url": "ssh://git@git.example/fleet.git"}}\'',
    )
