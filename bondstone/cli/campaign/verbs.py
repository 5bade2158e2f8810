"""`bond campaign`, the verbs: what people tell a campaign. They work at any time, and twice does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli import completion
from bondstone.cli.session import Reason, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bondstone.client import Bondstone
    from bondstone.client.documents.campaign import CampaignDocument

    Tell = Callable[[Bondstone], Awaitable[CampaignDocument]]

app = typer.Typer()
"""Its commands stand in the group of `bondstone.cli.campaign.commands`."""

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="the campaign", show_default=False, autocompletion=completion.campaigns),
]
WaveName = Annotated[str, typer.Argument(metavar="WAVE", help="the wave at its gate", show_default=False)]
RequestId = Annotated[
    str, typer.Option("--request-id", metavar="ID", help="the same id again has no further effect")
]
Linked = Annotated[
    str, typer.Option("--name", metavar="NAME", help="name of the campaign that is started if this one has ended")
]
Digest = Annotated[
    str,
    typer.Option(
        "--digest", metavar="D", help="digest of the targets that you approve, as `campaign show` prints it"
    ),
]
Role = Annotated[
    list[str], typer.Option("--role", metavar="R", help="a role you act in, for the record; may be repeated")
]
Failed = Annotated[bool, typer.Option("--failed", help="those that failed, timed out or did not answer")]
NotStarted = Annotated[bool, typer.Option("--not-started", help="those refused, skipped or never tried")]
All = Annotated[bool, typer.Option("--all", help="all of them")]


@app.command(epilog=examples("bond campaign pause cve-2026-1234 --reason 'pages from payments'"))
def pause(
    name: Name, *, reason: Reason = "", request_id: RequestId = "", output: Output = OutputFormat.TABLE
) -> None:
    """Start nothing more; what runs continues."""
    _told(lambda bond: bond.campaigns.pause(name, reason=reason, request_id=request_id), "paused", output)


@app.command(epilog=examples("bond campaign resume cve-2026-1234 --reason 'the fix is published'"))
def resume(
    name: Name, *, reason: Reason = "", request_id: RequestId = "", output: Output = OutputFormat.TABLE
) -> None:
    """Go on. After a broken budget: accept the failures so far."""
    _told(lambda bond: bond.campaigns.resume(name, reason=reason, request_id=request_id), "resumed", output)


@app.command(
    epilog=examples(
        "bond campaign abort cve-2026-1234 --reason 'wrong version'", "bond campaign abort cve-2026-1234 --cancel"
    )
)
def abort(
    name: Name,
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="stop what runs, instead of letting it finish")] = False,
    reason: Reason = "",
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start nothing more, ever, and end once what runs has finished."""
    _told(
        lambda bond: bond.campaigns.abort(name, cancel=cancel, reason=reason, request_id=request_id),
        "aborted" if cancel else "aborted; what runs finishes",
        output,
    )


@app.command(epilog=examples("bond campaign skip cve-2026-1234 payments/orders --reason 'has its own window'"))
def skip(
    name: Name,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TEAM/NAME", help="the service", show_default=False, autocompletion=completion.services
        ),
    ],
    *,
    reason: Reason = "",
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Leave out a target that has not started."""
    _told(
        lambda bond: bond.campaigns.skip(name, target, reason=reason, request_id=request_id),
        f"leaves out {target}",
        output,
    )


@app.command("set-concurrency", epilog=examples("bond campaign set-concurrency cve-2026-1234 25"))
def set_concurrency(
    name: Name,
    most: Annotated[int, typer.Argument(metavar="N", help="targets at once", show_default=False)],
    *,
    reason: Reason = "",
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Let so many targets run at once, from now on."""
    _told(
        lambda bond: bond.campaigns.set_concurrency(name, most, reason=reason, request_id=request_id),
        f"runs at most {most} at once",
        output,
    )


@app.command("next-wave", epilog=examples("bond campaign next-wave cve-2026-1234 --reason 'seen enough'"))
def next_wave(
    name: Name, *, reason: Reason = "", request_id: RequestId = "", output: Output = OutputFormat.TABLE
) -> None:
    """End a wave's soak now; the health of its targets is still probed."""
    _told(
        lambda bond: bond.campaigns.next_wave(name, reason=reason, request_id=request_id), "ends the soak", output
    )


@app.command(
    epilog=examples(
        "bond campaign retry cve-2026-1234 --failed",
        "bond campaign retry cve-2026-1234 --all --name cve-2026-1234-second",
    )
)
def retry(
    name: Name,
    *,
    failed: Failed = False,
    not_started: NotStarted = False,
    every: All = False,
    linked: Linked = "",
    reason: Reason = "",
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Take targets up again, each in its wave; after the end, in a new campaign that is linked to this one."""
    which = _one({"failed": failed, "not-started": not_started, "all": every}, default="failed")
    _told(
        lambda bond: bond.campaigns.retry(
            name,
            which,  # type: ignore[arg-type] # `_one` gives back one of those it was given
            reason=reason,
            request_id=request_id,
            new_name=linked,
        ),
        f"retries: {which}",
        output,
        name=name,
    )


@app.command(
    epilog=examples(
        "bond campaign rollback cve-2026-1234 --failed",
        "bond campaign rollback cve-2026-1234 --all --reason 'OPS-9'",
    )
)
def rollback(
    name: Name,
    *,
    failed: Failed = False,
    wave: Annotated[bool, typer.Option("--wave", help="those of the current wave that were tried")] = False,
    every: All = False,
    linked: Linked = "",
    reason: Reason = "",
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Take targets back to where they were; after the end, by a new campaign that is linked to this one."""
    which = _one({"failed": failed, "wave": wave, "all": every}, default="")
    _told(
        lambda bond: bond.campaigns.rollback(
            name,
            which,  # type: ignore[arg-type] # as above
            reason=reason,
            request_id=request_id,
            new_name=linked,
        ),
        f"rolls back: {which}",
        output,
        name=name,
    )


@app.command(epilog=examples("bond campaign approve cve-2026-1234 half --role sre"))
def approve(
    name: Name,
    wave: WaveName,
    *,
    digest: Digest = "",
    role: Role = [],  # noqa: B006 - typer copies it
    reason: Reason = "",
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Approve a wave that waits at its gate."""
    _told(
        lambda bond: bond.campaigns.approve(
            name, wave, digest=digest, roles=role, reason=reason, request_id=request_id
        ),
        f"has your approval of wave {wave}",
        output,
    )


@app.command(epilog=examples("bond campaign reject cve-2026-1234 half --reason 'not before the quarter ends'"))
def reject(
    name: Name,
    wave: WaveName,
    *,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="why; for the record", show_default=False)
    ],
    digest: Digest = "",
    role: Role = [],  # noqa: B006 - typer copies it
    request_id: RequestId = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Reject a wave. One rejection is enough: the campaign ends."""
    _told(
        lambda bond: bond.campaigns.reject(
            name, wave, digest=digest, roles=role, reason=reason, request_id=request_id
        ),
        f"has your rejection of wave {wave}",
        output,
    )


# Helpers ----------------------------------------------------------------------------------------------------


def _told(tell: Tell, outcome: str, output: OutputFormat, *, name: str = "") -> None:
    """Tell a campaign something, and show it as it is then; `name` is who was told, where that may be over."""
    document = with_platform(tell)

    def people() -> None:
        if name and document.name != name:
            say(f"campaign {name} has ended; campaign {document.name} {outcome}")
        else:
            say(f"campaign {document.name} {outcome}: {document.status}")
        for sentence in document.effect:
            say(f"  {sentence}")
        for awaited in document.awaits:
            note(f"waits for {awaited}")

    emit(document, output, people)


def _one(options: dict[str, bool], *, default: str) -> str:
    """The one option that is set."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    chosen = [name for name, is_set in options.items() if is_set]
    if len(chosen) > 1 or not (chosen or default):
        raise InvalidInput("say which targets", hint="one of " + ", ".join(f"--{name}" for name in options))
    return chosen[0] if chosen else default
