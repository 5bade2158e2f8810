"""`bond approval`: list, give and refuse approvals of exact plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli import watch as watching
from bondstone.cli.session import OperationArgument, with_platform
from bondstone.cli.watch import Watch
from bondstone.client.approvals import SHORTEST_DIGEST
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bondstone.client import Bondstone
    from bondstone.client.documents.step import ApprovalDocument

app = typer.Typer(help="Plans that wait for people: list, approve, reject.", no_args_is_help=True)

Step = Annotated[
    str, typer.Option("--step", metavar="S", help="the step; not needed, as the digest names its plan")
]
Digest = Annotated[
    str,
    typer.Option(
        "--digest",
        metavar="D",
        help=f"the plan, by at least {SHORTEST_DIGEST} characters of its digest",
        show_default=False,
    ),
]
Campaign = Annotated[
    str, typer.Option("--campaign", metavar="NAME", help="the plans of this campaign's targets, instead of one")
]
Role = Annotated[
    list[str], typer.Option("--role", metavar="R", help="a role you act in, for the record; may be repeated")
]


@app.command(
    "list",
    epilog=examples(
        "bond approval list", "bond approval list --campaign cve-2026-1234", "bond approval list -o wide"
    ),
)
def list_(*, campaign: Campaign = "", watch: Watch = False, output: Output = OutputFormat.TABLE) -> None:
    """List the plans that wait for approval, the longest wait first.

    With --campaign only those of its targets, grouped by what they would change.
    """
    if campaign:
        _list_of_campaign(campaign, output)
        return

    def people(gates: Sequence[ApprovalDocument]) -> None:
        table(
            ["operation", "step", "plan", "since", "missing", "why", "kind", "asked by", "expires"],
            [
                [
                    gate.operation,
                    gate.step,
                    gate.digest[:SHORTEST_DIGEST],
                    gate.asked_at,
                    "; ".join(gate.missing),
                    "; ".join(need.reason for need in gate.needs if need.reason),
                    gate.kind,
                    gate.requested_by,
                    gate.expires_at or "never",
                ]
                for gate in gates
            ],
            empty="nothing waits for an approval",
            wide=("kind", "asked by", "expires"),
        )
        if gates:
            note("look at one with `bond operation plan ID`")

    watching.show_list(lambda bond: bond.approvals.list(), people, output, watch=watch)


@app.command(
    epilog=examples(
        "bond approval approve payments/orders/op/4 --step database --digest 3f2a91c07d5e --role dba",
        "bond --as eve approval approve payments/orders/op/4 --digest 3f2a91c07d5e --comment 'seen with bob'",
        "bond approval approve --campaign cve-2026-1234 --role sre",
    )
)
def approve(
    operation: Annotated[
        str,
        typer.Argument(metavar="[ID]", help="the operation, as in payments/orders-db/op/7", show_default=False),
    ] = "",
    *,
    digest: Annotated[
        str,
        typer.Option(
            "--digest", metavar="D", help=f"the plan, by at least {SHORTEST_DIGEST} characters of its digest"
        ),
    ] = "",
    campaign: Campaign = "",
    changes: Annotated[
        str, typer.Option("--changes", metavar="ID", help="with --campaign: the change set, if several wait")
    ] = "",
    step: Step = "",
    role: Role = [],  # noqa: B006 - typer copies it
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="for the record")] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Approve one exact plan. With enough approvals exactly that plan is applied.

    With --campaign, approve every waiting plan of its targets that has the same change set, each by its own
    digest, which is listed.
    """
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see bondstone.cli.session

    if campaign:
        if operation or digest or step:
            raise InvalidInput("--campaign takes the place of an operation, a step and a digest")
        _approve_campaign(campaign, changes, role, comment, output)
        return
    if not operation or not digest:
        raise InvalidInput(
            "an approval names an operation and the digest of its plan",
            hint="`bond approval list` shows both; or approve the plans of a campaign with --campaign",
        )
    _vote(lambda bond: bond.approvals.approve(operation, digest, step=step, roles=role, comment=comment), output)


@app.command(
    epilog=examples(
        "bond approval reject payments/orders/op/4 --step database --digest 3f2a91c07d5e --reason 'not this week'"
    )
)
def reject(
    operation: OperationArgument,
    *,
    digest: Digest,
    reason: Annotated[
        str,
        typer.Option("--reason", metavar="TEXT", help="the reason, shown to the requester", show_default=False),
    ],
    step: Step = "",
    role: Role = [],  # noqa: B006 - typer copies it
    output: Output = OutputFormat.TABLE,
) -> None:
    """Reject one exact plan. One is enough: the operation ends rejected."""
    _vote(lambda bond: bond.approvals.reject(operation, digest, step=step, roles=role, reason=reason), output)


# Helpers ----------------------------------------------------------------------------------------------------

MOST_CHANGES: Final = 5
"""How many changes of a plan a table names."""


def _list_of_campaign(campaign: str, output: OutputFormat) -> None:
    from bondstone.client.change_set_votes import change_sets  # noqa: PLC0415 - see bondstone.cli.session

    groups = with_platform(lambda bond: change_sets(bond, campaign))

    def people() -> None:
        if not groups:
            say(f"no plan of campaign {campaign} waits for an approval")
        for group in groups:
            say(f"change set {group.id}: step {group.step}, {group.counts}")
            for change in group.changes[:MOST_CHANGES]:
                say(f"  {change}")
            if len(group.changes) > MOST_CHANGES:
                say(f"  and {len(group.changes) - MOST_CHANGES} more")
            table(
                ["operation", "plan", "missing", "why"],
                [
                    [
                        gate.operation,
                        gate.digest[:SHORTEST_DIGEST],
                        gate.missing,
                        "; ".join(need.reason for need in gate.needs if need.reason),
                    ]
                    for gate in group.approvals
                ],
            )
            say()
        if groups:
            several = f" --changes {groups[0].id}" if len(groups) > 1 else ""
            note(f"approve them with `bond approval approve --campaign {campaign}{several}`")

    emit(groups, output, people)


def _approve_campaign(campaign: str, changes: str, roles: list[str], comment: str, output: OutputFormat) -> None:
    """Vote on every plan of a change set; exit code 1 when a vote did not count."""
    from bondstone.client import change_set_votes  # noqa: PLC0415 - see bondstone.cli.session

    group, votes = with_platform(
        lambda bond: change_set_votes.approve(bond, campaign, changes=changes, roles=roles, comment=comment)
    )

    def people() -> None:
        say(f"change set {group.id}: {', '.join(group.changes[:MOST_CHANGES])}")
        table(
            ["operation", "step", "plan", "vote"],
            [
                [
                    vote.operation,
                    vote.step,
                    vote.digest[:SHORTEST_DIGEST],
                    vote.error.message
                    if vote.error
                    else vote.approval and " needs ".join([vote.approval.status, *vote.approval.missing]),
                ]
                for vote in votes
            ],
        )
        counted = sum(vote.error is None for vote in votes)
        say(f"approved {counted} of {len(votes)} plans")

    emit(votes, output, people)
    if any(vote.error for vote in votes):
        raise typer.Exit(1)


def _vote(vote: Callable[[Bondstone], Awaitable[ApprovalDocument]], output: OutputFormat) -> None:
    """Vote, and show the gate as it is then."""
    document = with_platform(vote)

    def people() -> None:
        left = f", still needs {' and '.join(document.missing)}" if document.missing else ""
        plan = f"step {document.step} plan {document.digest[:SHORTEST_DIGEST]}"
        say(f"{document.operation} {plan}: {document.status}{left}")
        if document.status == "approved":
            note(f"watch it with `bond operation wait {document.operation}`")

    emit(document, output, people)
