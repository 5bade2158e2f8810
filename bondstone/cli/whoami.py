"""`bond whoami`: your name, your roles, and the platform you use."""

from __future__ import annotations

import os
from typing import Any, Final

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields

_MEANS: Final = {
    "oidc": "signed in with {issuer}",
    "token": "API token {display_name}",
    "workload": "a token of {issuer}",
    "part": "a part's parent",
}

app = typer.Typer()


@app.command(epilog=examples("bond whoami", "bond --as grace whoami -o jsonpath='{.name}'"))
def whoami(*, output: Output = OutputFormat.TABLE) -> None:
    """Show the name that changes are recorded under, where it comes from, and which platform is asked."""
    identity = _known_to_the_api() or _asserted()
    shown = {
        "name": identity["name"],
        "from": identity["source"] if identity["proven"] else f"{identity['source']}, as asserted",
        "roles": "; ".join(identity["roles"]) or None,
        "context": identity["context"],
        "platform": identity["platform"],
    }
    emit(identity, output, lambda: fields(shown))


def _known_to_the_api() -> dict[str, Any] | None:
    """Whom the API takes the caller for; None where the platform has none."""
    from bondstone.client.http.address import find_api  # noqa: PLC0415 - --help is fast

    api = find_api(context.options.data, context.options.values)
    if api is None:
        return None
    from bondstone.cli.session import with_api  # noqa: PLC0415

    caller: dict[str, Any] = with_api(lambda http: http.get("/whoami"))
    asserted = caller["means"] == "local"
    return {
        "name": caller["subject"].removeprefix("local:") if asserted else caller["subject"],
        "source": _source() if asserted else _MEANS[caller["means"]].format(**caller),
        "proven": not asserted,
        "roles": [f"{', '.join(grant['roles'])} {_where(grant['scope'])}" for grant in caller["grants"]],
        "groups": caller["groups"],
        "expires_at": caller["expires_at"],
        "context": context.options.context or None,
        "platform": api.url,
    }


def _where(scope: Any) -> str:
    if not isinstance(scope, dict):
        return "everywhere"
    parts = [f"{name} {', '.join(map(str, values))}" for name, values in scope.items() if values]
    return f"in {' and '.join(parts)}"


def _asserted() -> dict[str, Any]:
    """Whom changes are recorded under by a client that speaks to Temporal itself."""
    settings = context.settings()
    return {
        "name": context.actor(),
        "source": _source(),
        "proven": False,
        "roles": [],
        "groups": [],
        "expires_at": None,
        "context": context.options.context or None,
        "platform": settings.temporal_address or str(settings.data),
    }


def _source() -> str:
    return "--as" if context.options.actor else "BOND_AS" if os.environ.get("BOND_AS") else "operating system"
