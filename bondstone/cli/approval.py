"""`bond approval`: people's word on exact plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bondstone.cli.session import OperationArgument, with_platform
from bondstone.client.approvals import SHORTEST_DIGEST
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bondstone.client import Bondstone
    from bondstone.client.documents.step import ApprovalDocument

app = typer.Typer(help="Plans that wait for people: list, approve, reject.", no_args_is_help=True)

Step = Annotated[
    str, typer.Option("--step", metavar="S", help="the step; may be left out, the digest names its plan")
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
Role = Annotated[
    list[str], typer.Option("--role", metavar="R", help="a role you act in, for the record; may be repeated")
]


@app.command("list", epilog=examples("bond approval list", "bond approval list -o json"))
def list_(*, output: Output = OutputFormat.TABLE) -> None:
    """List the plans that wait for people, the one that waits longest first."""
    documents = with_platform(lambda bond: bond.approvals.list())

    def people() -> None:
        table(
            ["operation", "kind", "step", "plan", "asked by", "since", "missing", "expires", "why"],
            [
                [
                    item.operation,
                    item.kind,
                    item.step,
                    item.digest[:SHORTEST_DIGEST],
                    item.requested_by,
                    item.asked_at,
                    item.missing,
                    item.expires_at or "never",
                    "; ".join(need.reason for need in item.needs if need.reason),
                ]
                for item in documents
            ],
            empty="nothing waits for an approval",
        )
        if documents:
            note("look at one with `bond operation plan ID`")

    emit(documents, output, people)


@app.command(
    epilog=examples(
        "bond approval approve payments/orders/op/4 --step database --digest 3f2a91c07d5e --role dba",
        "bond --as eve approval approve payments/orders/op/4 --digest 3f2a91c07d5e --comment 'seen with bob'",
    )
)
def approve(
    operation: OperationArgument,
    *,
    digest: Digest,
    step: Step = "",
    role: Role = [],  # noqa: B006 - typer copies it
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="for the record")] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give your word for one exact plan. With enough of them exactly that plan is applied."""
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
        str, typer.Option("--reason", metavar="TEXT", help="why; who asked will read it", show_default=False)
    ],
    step: Step = "",
    role: Role = [],  # noqa: B006 - typer copies it
    output: Output = OutputFormat.TABLE,
) -> None:
    """Give your word against one exact plan. One is enough: the operation ends rejected."""
    _vote(lambda bond: bond.approvals.reject(operation, digest, step=step, roles=role, reason=reason), output)


# Helpers ----------------------------------------------------------------------------------------------------


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
