"""What `bond demo` asks for: services of the shipped promises, for several teams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Wanted:
    """One service to ask for."""

    service: str
    promise: str
    by: str
    environment: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tier: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """Its labels; the sample organisation wants the environment on all."""
        return {"environment": self.environment, **({"tier": self.tier} if self.tier else {})}


def _database(service: str, by: str, environment: str, tier: str = "", **inputs: Any) -> Wanted:
    address = {"contact": f"{service.partition('/')[0]}@example.org"}
    return Wanted(service, "sqlite-database", by, environment, address | inputs, tier)


def _site(service: str, by: str, environment: str, tier: str = "", **inputs: Any) -> Wanted:
    return Wanted(service, "static-site", by, environment, inputs, tier)


def _queue(service: str, by: str, environment: str, tier: str = "", **inputs: Any) -> Wanted:
    return Wanted(service, "queue", by, environment, inputs, tier)


DEVELOPMENT, STAGING, PRODUCTION = "development", "staging", "production"

FLEET = (
    _database("payments/orders", "ada", PRODUCTION, "gold", size="medium"),
    _database("payments/ledger", "ada", PRODUCTION, "gold", size="large", starter="tasks"),
    _queue("payments/events", "ada", PRODUCTION, "gold", deadLetters=True, retention="30d"),
    _database("shop/carts", "grace", STAGING, size="small"),
    _queue("shop/checkout", "grace", STAGING, maxMessages=500),
    _site("shop/catalogue", "grace", STAGING, title="Catalogue", theme="dark", accent="#b8336a"),
    _site(
        "web/docs",
        "linus",
        PRODUCTION,
        "silver",
        title="Documentation",
        intro="How to ask for a service, and what happens then.",
        pages=[{"slug": "first-steps", "title": "First steps", "text": "Ask, wait, use."}],
        sitemap=True,
        address="https://docs.example.org",
    ),
    _site("web/handbook", "linus", STAGING, title="Handbook", theme="high-contrast"),
    _site("web/blog", "linus", DEVELOPMENT, title="Blog"),
    _database("data/metrics", "edsger", STAGING, size="medium", journal="delete"),
    _queue("data/imports", "edsger", DEVELOPMENT, retention="1d"),
    Wanted("risk/fraud", "fraud-detection", "grace", STAGING, {"contact": "risk@example.org", "threshold": 0.9}),
    _queue("data/scratch", "edsger", DEVELOPMENT, maxMessages=10),
)
"""Asked for all at once."""

DECOMMISSIONED = "data/scratch"
"""The one of the fleet that is taken down again."""

DENIED = _database("payments/test-vault", "mallory", PRODUCTION, size="small")
"""Right in form, and denied by policy: the promise's, and the organisation's."""

INVALID = Wanted("payments/archive", "sqlite-database", "mallory", PRODUCTION, {"size": "gigantic"})
"""Does not fit the promise's schema."""
