"""`bond login` and `bond logout`: who one is to a platform that knows people by a sign-in provider."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, is_terminal, note, say

if TYPE_CHECKING:
    from bondstone.base.issuer_settings import IssuerSettings
    from bondstone.client.http.address import ApiAddress
    from bondstone.client.http.login import DeviceCode, ProviderTokens

app = typer.Typer()


@app.command(
    epilog=examples(
        "bond login",
        "bond login --device                      on a machine without a browser",
        "BOND_API=https://bond.example.com bond login",
    )
)
def login(
    *,
    device: Annotated[
        bool, typer.Option("--device", help="show a code to type into a browser on any machine")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser", help="use a browser on this machine")] = False,
    no_open: Annotated[bool, typer.Option("--no-open", help="print the address, and open no browser")] = False,
    issuer: Annotated[
        str, typer.Option("--issuer", metavar="URL", help="the provider, where there are several")
    ] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Sign in at the platform's API with its provider; `bond` renews the sign-in by itself from then on.

    With neither --device nor --browser: a browser on this machine where this is a terminal, else a code.
    """
    api = _api()

    async def run() -> dict[str, Any]:
        from bondstone.client.http import login as sign_in  # noqa: PLC0415 - --help is fast
        from bondstone.client.http import sign_ins  # noqa: PLC0415

        settings = await _provider(api, issuer)
        by_code = device or (not browser and not is_terminal(sys.stdin) and await sign_in.takes_devices(settings))
        tokens = await (_by_code(settings) if by_code else sign_in.by_browser(settings, _show, start=not no_open))
        answer = await _caller(api, tokens)
        sign_ins.keep(api.url, sign_in.sign_in_from(settings, tokens))
        return {**answer, "api": api.url, "renewable": bool(tokens.refresh_token)}

    answer = context.run(run())
    if not answer["renewable"]:
        note("the provider gave no refresh token: the sign-in lasts as long as its token")
    emit(answer, output, lambda: say(f"signed in as {answer['subject']} at {api.url}"))


@app.command(epilog=examples("bond logout"))
def logout(*, output: Output = OutputFormat.TABLE) -> None:
    """Forget the sign-in at the platform's API, and have the provider end it where it can."""
    api = _api()

    async def run() -> dict[str, Any]:
        from bondstone.base.errors import BondError  # noqa: PLC0415 - --help is fast
        from bondstone.client.http import login as sign_in  # noqa: PLC0415
        from bondstone.client.http import sign_ins  # noqa: PLC0415

        ended = sign_ins.forget(api.url)
        revoked = False
        if ended is not None:
            try:
                revoked = await sign_in.revoke(ended)
            except BondError as error:
                note(f"signed out here, but the provider did not end its session: {error.message}")
        return {"api": api.url, "was_signed_in": ended is not None, "revoked": revoked}

    answer = context.run(run())
    words = "signed out of" if answer["was_signed_in"] else "nobody was signed in at"
    emit(answer, output, lambda: say(f"{words} {api.url}"))


def _api() -> ApiAddress:
    """The API to sign in at.

    Raises:
        SettingsInvalid: none is named, or a token is there already.
    """
    from bondstone.base.errors import SettingsInvalid  # noqa: PLC0415 - --help is fast
    from bondstone.client.http.address import TOKEN_VARIABLE, find_api  # noqa: PLC0415

    api = find_api(context.options.data, context.options.values)
    if api is None:
        raise SettingsInvalid(
            "no API is named to sign in at", hint="name one: BOND_API, or `bond context add prod --api URL --use`"
        )
    if api.token:
        named = bool(os.environ.get(TOKEN_VARIABLE))
        raise SettingsInvalid(
            f"{TOKEN_VARIABLE} is set, and takes precedence over a sign-in"
            if named
            else "you hold the data directory of this platform, and need no sign-in",
            where=api.url,
            hint=f"unset {TOKEN_VARIABLE}" if named else "name another API: BOND_API, or `bond context add`",
        )
    return api


async def _provider(api: ApiAddress, issuer: str) -> IssuerSettings:
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - --help is fast
    from bondstone.base.issuer_settings import IssuerSettings  # noqa: PLC0415
    from bondstone.client.http.address import ApiAddress  # noqa: PLC0415
    from bondstone.client.http.transport import Transport  # noqa: PLC0415

    transport = Transport(ApiAddress(api.url))
    try:
        providers = await transport.get("/providers")
    finally:
        transport.close()
    known = [each["issuer"] for each in providers]
    chosen = [each for each in providers if not issuer or each["issuer"] == issuer]
    if len(chosen) != 1:
        raise InvalidInput(
            "the platform has no provider to sign in with" if not chosen else "name the provider to sign in with",
            where=api.url,
            hint=f"--issuer: {', '.join(known)}"
            if known
            else "an API token works everywhere: `bond token create`",
        )
    return IssuerSettings(
        issuer=chosen[0]["issuer"], client_id=chosen[0]["client_id"], scopes=tuple(chosen[0]["scopes"])
    )


async def _by_code(settings: IssuerSettings) -> ProviderTokens:
    from bondstone.client.http.login import by_device  # noqa: PLC0415 - --help is fast

    def show(device: DeviceCode) -> None:
        note(f"open {device.verification_uri} and type {device.user_code}")
        if device.verification_uri_complete:
            note(f"or open {device.verification_uri_complete}")

    return await by_device(settings, show)


def _show(url: str) -> None:
    note(f"sign in with your browser at {url}")


async def _caller(api: ApiAddress, tokens: ProviderTokens) -> dict[str, Any]:
    """Whom the platform takes the holder of these tokens for."""
    from bondstone.client.http.address import ApiAddress  # noqa: PLC0415 - --help is fast
    from bondstone.client.http.transport import Transport  # noqa: PLC0415

    transport = Transport(ApiAddress(api.url, tokens.id_token))
    try:
        answer: dict[str, Any] = await transport.get("/whoami")
    finally:
        transport.close()
    return answer
