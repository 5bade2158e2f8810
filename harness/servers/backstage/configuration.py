"""What a stock Backstage and Bondstone are told of each other, as `docs/how-to/backstage.md` shows it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.servers.backstage.packages import SOURCE
from harness.servers.process import LOOPBACK

PERSON: Final = "user:default/ada"
ENVIRONMENT: Final = "production"
"""Of the sign-in with a provider, as the how-to has it."""
CLIENT_SECRET: Final = "what Backstage is known by"  # noqa: S105 - of a provider for tests
"""Of the client `backstage` of `harness/providers/node/provider.mjs`."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What both sides are told: files of one folder.

    Args:
        folder: Where they are.
    """

    folder: Path

    @property
    def feed(self) -> Path:
        """The secret part of the feed's address."""
        return self.folder / "feed-token"

    @property
    def catalog(self) -> Path:
        """The token that Backstage's catalog accepts."""
        return self.folder / "catalog-token"

    @property
    def agent(self) -> str:
        """The token of an agent at Backstage's own MCP server."""
        return f"agent-{self.catalog.read_text()}"

    def make(self) -> None:
        """Make what is missing, readable by its owner alone."""
        for path in (self.feed, self.catalog):
            if not path.exists():
                path.touch(mode=0o600)
                path.write_text(secrets.token_urlsafe(32).replace("_", "0").replace("-", "1"))


def configuration(url: str, bond: str, files: Secrets, *, issuer: str = "", proxy: bool = False) -> dict[str, Any]:
    """The whole configuration of the stock backend, as `docs/how-to/backstage.md` shows it.

    Args:
        url: Of Backstage.
        bond: Of Bondstone's API.
        files: What both sides know.
        issuer: The OpenID provider that people sign in with; without one everybody is the guest.
        proxy: Let its proxy reach Bondstone too, as a Backstage without actions needs.
    """
    host = bond.partition("://")[2]
    port = int(url.rpartition(":")[2])
    token_of_agent = {"type": "static", "options": {"token": files.agent, "subject": "agent"}}
    whole: dict[str, Any] = {
        "app": {"title": "Backstage", "baseUrl": url},
        "organization": {"name": "Acme"},
        "backend": {
            "baseUrl": url,
            "listen": {"host": LOOPBACK, "port": port},
            "database": {"client": "better-sqlite3", "connection": {"directory": str(files.folder / "tables")}},
            "reading": {"allow": [{"host": host, "paths": ["/backstage/v1"]}]},
            "actions": {"pluginSources": ["catalog", "scaffolder", "bondstone"]},
            "auth": {
                "externalAccess": [
                    {
                        "type": "static",
                        "options": {"token": files.catalog.read_text(), "subject": "bondstone"},
                        "accessRestrictions": [{"plugin": "catalog"}],
                    },
                    {**token_of_agent, "accessRestrictions": [{"plugin": "mcp-actions"}, {"plugin": "bondstone"}]},
                ]
            },
        },
        "discovery": {"endpoints": [{"target": f"{bond}/backstage", "plugins": ["bondstone"]}]},
        "auth": _sign_in(issuer),
        "scaffolder": {"defaultAuthor": {"name": "Acme", "email": "platform@example.com"}},
        "catalog": {
            "stitchingStrategy": {"pollingInterval": {"milliseconds": 200}},
            "rules": [{"allow": ["User", "Group", "Location", "Template", "Resource", "Component"]}],
            "locations": [
                {
                    "type": "url",
                    "target": f"{bond}/backstage/v1/{files.feed.read_text()}/catalog.yaml",
                    "rules": [{"allow": ["Location", "Template", "Resource", "Component", "Group"]}],
                },
                {"type": "file", "target": str(SOURCE / "people.yaml")},
            ],
        },
    }
    if proxy:
        whole["proxy"] = {
            "endpoints": {
                "/bondstone": {
                    "target": f"{bond}/backstage/.backstage/actions/v1/actions",
                    "credentials": "forward",
                    "allowedMethods": ["POST"],
                }
            }
        }
    return whole


def _sign_in(issuer: str) -> dict[str, Any]:
    """The section `auth`: Backstage's own modules, for guests or for people of a provider."""
    guest = {"userEntityRef": PERSON, "dangerouslyAllowOutsideDevelopment": True}
    if not issuer:
        return {"environment": "development", "providers": {"guest": guest}}
    oidc = {
        "metadataUrl": f"{issuer}/.well-known/openid-configuration",
        "clientId": "backstage",
        "clientSecret": CLIENT_SECRET,
        "prompt": "consent",
        "additionalScopes": ["offline_access"],
        "signIn": {"resolvers": [{"resolver": "emailLocalPartMatchingUserEntityName"}]},
    }
    return {
        "environment": ENVIRONMENT,
        "session": {"secret": secrets.token_urlsafe(32)},
        "providers": {"oidc": {ENVIRONMENT: oidc}},
    }


def bondstone_settings(url: str, files: Secrets, **more: object) -> dict[str, str]:
    """What Bondstone is told of it, as environment variables.

    Args:
        url: Of Backstage.
        files: What both sides know.
        **more: Further settings of `[backstage]`.
    """
    settings = {
        "url": url,
        "feed_token_file": str(files.feed),
        "catalog_token_file": str(files.catalog),
        "person": "{name}@example.com",
        "group": "{name}",
        **more,
    }
    return {"BOND_BACKSTAGE": json.dumps(settings)}
