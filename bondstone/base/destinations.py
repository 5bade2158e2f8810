"""Repositories and buckets of a pool that steps may write files to. Promises name one, and know no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from bondstone.base.errors import SettingsInvalid
from bondstone.base.models import Manifest

_PASSWORD_IN_URL = re.compile(r"^[a-z+]+://[^/@]*:[^/@]*@")
_BUCKETS: Final = ("s3", "gs", "az", "file")


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


class BucketDestination(Manifest):
    """A bucket that steps may write files to, with the cloud's credentials of the worker."""

    url: str = Field(min_length=1, max_length=1000)
    """`s3://bucket/prefix`, `gs://…`, `az://…`, without credentials: the worker has those of its own cloud, in its
    environment. `file:///path` is a directory of the worker's machine, to try it out."""

    @model_validator(mode="after")
    def _plain(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in _BUCKETS or not (parts.netloc or parts.path.strip("/")):
            raise ValueError("url must be s3://bucket/prefix, gs://…, az://… or file:///path")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("url must hold no credentials and no options: the worker's environment has them")
        return self


def find_destination(
    repositories: Mapping[str, GitDestination], buckets: Mapping[str, BucketDestination], name: str
) -> GitDestination | BucketDestination:
    """The settings of the destination that a step names.

    Args:
        repositories: The pool's `git_destinations`.
        buckets: The pool's `bucket_destinations`.
        name: Of one of them.

    Raises:
        SettingsInvalid: when the pool has none of that name, or one of each.
    """
    repository, bucket = repositories.get(name), buckets.get(name)
    if repository is not None and bucket is not None:
        raise SettingsInvalid(
            f"the worker knows a git destination and a bucket named {name!r}", hint="give one of them another name"
        )
    if repository is not None or bucket is not None:
        return repository or bucket  # type: ignore[return-value] # one of them is there
    names = sorted({*repositories, *buckets})
    known = f"this pool has {', '.join(names)}" if names else "this pool has none"
    raise SettingsInvalid(
        f"the worker knows no destination named {name!r}: {known}",
        hint="destinations are named in the settings of the executor workers, as in "
        'BOND_GIT_DESTINATIONS=\'{"fleet": {"url": "ssh://git@git.example/fleet.git"}}\', or in '
        "BOND_BUCKET_DESTINATIONS",
    )
