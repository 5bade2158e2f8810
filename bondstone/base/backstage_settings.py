"""A Backstage beside the platform: where it is, whose calls count, and what its people and teams are called."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from bondstone.base.models import Manifest

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
MIN_TOKEN_CHARS: Final = 24


class BackstageSettings(Manifest):
    """One Backstage. In `bond.toml`: `[backstage]`; as a variable: JSON."""

    url: str
    """Its backend, as the API reaches it: `https://backstage.example`. The keys of its tokens are read there."""
    app_url: str = ""
    """Its pages, as people reach them; default: `url`. For links."""
    feed_token_file: Path
    """A file with the secret part of the feed's address, at least 24 characters: Backstage reads it without a
    credential."""
    catalog_token_file: Path | None = None
    """A file with a static token that Backstage accepts for its catalog: changes show at once, and the groups of
    people are known. Without it changes show when Backstage reads again, and nobody has groups."""
    plugins: tuple[str, ...] = ("scaffolder", "mcp-actions")
    """Plugins of Backstage whose calls are accepted."""
    namespace: str = "default"
    """The namespace of the users and groups that count; those of others are nobody here."""
    person: str = "user:{namespace}/{name}"
    """What a user is called in records and access documents: `{name}@example.com` where people are known so."""
    group: str = "group:{namespace}/{name}"
    """What a group is called in access documents."""
    team: str = "{team}"
    """Name of the group that stands for a team in the catalog."""
    describe_teams: bool = True
    """Whether the feed describes teams as groups; off where the catalog has them from elsewhere."""
    pages: int = Field(default=64, ge=1, le=256)
    """Over how many parts of the feed services are spread; Backstage reads them one by one, and 64 are enough for
    30,000 services. The fewer share a part, the sooner a change shows; each part is a request every two minutes.
    With another number services move to other parts, and Backstage loses them for minutes."""
    ended_hours: int = Field(default=24, ge=0, le=720)
    """How long a service that has ended is still in the catalog, as such."""
    proxy: str = Field(default="", pattern=r"^((/[A-Za-z0-9_-]+)+)?$")
    """For a Backstage without actions: the endpoint of its proxy that leads to the API, as in `/bondstone`.
    Templates call through it, and tokens that plugins get for the proxy are accepted."""
    max_hours: int = Field(default=24, ge=1, le=720)
    """A person's token that is valid for longer is refused."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        parts = urlsplit(self.url)
        secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        if not secure or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("url must be an https:// URL (http:// on loopback), without a query")
        for field in ("person", "group"):
            if "{name}" not in getattr(self, field):
                raise ValueError(f"{field} must contain {{name}}, or all would be one")
        if "{team}" not in self.team:
            raise ValueError("team must contain {team}")
        return self

    @property
    def base_url(self) -> str:
        """`url` without a slash at its end."""
        return self.url.rstrip("/")

    @property
    def pages_url(self) -> str:
        """`app_url` with the default filled in, without a slash at its end."""
        return (self.app_url or self.url).rstrip("/")
