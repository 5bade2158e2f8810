"""`bond approval`: people's word on exact plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli.session import OperationArgument, with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, note, say, table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bondstone.client import Bondstone, Operation
    from bondstone.client.documents.step import ApprovalDocument
    from bondstone.model.service import Approval, OperationRecord

    Ballot = Callable[[Operation, Approval], Awaitable[Approval]]

app = typer.Typer(help="Plans that wait for people: list, approve, reject.", no_args_is_help=True)

SHORTEST_DIGEST: Final = 12
"""Characters of a digest that are enough to name a plan among those of one step."""

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
    from bondstone.client.documents.step import approvals  # noqa: PLC0415 - see bondstone.cli.session

    async def find(bond: Bondstone) -> list[ApprovalDocument]:
        records = await bond.waiting_approvals()
        found = [document for record in records for document in approvals(record, waiting=True)]
        return sorted(found, key=lambda document: document.asked_at)

    documents = with_platform(find)

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

    async def vote(handle: Operation, found: Approval) -> Approval:
        return await handle.approve(found.step, found.digest, roles=role, comment=comment)

    _vote(operation, step, digest, vote, output)


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

    async def vote(handle: Operation, found: Approval) -> Approval:
        return await handle.reject(found.step, found.digest, reason=reason, roles=role)

    _vote(operation, step, digest, vote, output)


# Helpers ----------------------------------------------------------------------------------------------------


def _vote(operation: str, step: str, digest: str, vote: Ballot, output: OutputFormat) -> None:
    from bondstone.client.documents.step import ApprovalDocument  # noqa: PLC0415 - see bondstone.cli.session

    async def work(bond: Bondstone) -> ApprovalDocument:
        handle = bond.operation(operation)
        record = await handle.record()
        approval = await vote(handle, _meant(record, step, digest))
        return ApprovalDocument.of(record, approval)

    document = with_platform(work)

    def people() -> None:
        left = f", still needs {' and '.join(document.missing)}" if document.missing else ""
        plan = f"step {document.step} plan {document.digest[:SHORTEST_DIGEST]}"
        say(f"{document.operation} {plan}: {document.status}{left}")
        if document.status == "approved":
            note(f"watch it with `bond operation wait {document.operation}`")

    emit(document, output, people)


def _meant(record: OperationRecord, step: str, digest: str) -> Approval:
    """The gate that a step and (the beginning of) a digest name; whether a vote still counts the gate itself says.

    Raises:
        InvalidInput: the digest is too short, or none.
        Refused: there is no such gate, in words which there are.
    """
    from bondstone.base.errors import InvalidInput, Refused  # noqa: PLC0415 - see bondstone.cli.session

    prefix = digest.strip().lower().removeprefix("sha256:")
    if len(prefix) < SHORTEST_DIGEST or not set(prefix) <= set("0123456789abcdef"):
        raise InvalidInput(
            f"{digest[:80]!r} is not a plan's digest",
            hint=f"give at least {SHORTEST_DIGEST} of its characters, as `bond approval list` shows them",
        )
    if record.status.ended:
        raise Refused(f"the operation has ended: {record.status}", where=record.id)
    gates = [gate for gate in record.approvals if not step or gate.step == step]
    found = [gate for gate in gates if gate.digest.startswith(prefix)]
    if found:
        return found[-1]
    open_gates = [f"step {gate.step} with plan {gate.digest[:SHORTEST_DIGEST]}" for gate in gates
                  if gate.status == "waiting"]  # fmt: skip
    if open_gates:
        raise Refused(
            f"no plan {prefix[:SHORTEST_DIGEST]} waits there; what waits is {', '.join(open_gates)}",
            where=record.id,
            hint="look at the plan that is there now with `bond operation plan`, and vote on its digest",
        )
    what = f"step {step!r}" if step else "the operation"
    raise Refused(f"{what} waits for nobody", where=record.id, hint="`bond approval list` shows what waits")
