"""`bond ledger`: the permanent record, verified from the object store alone."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bondstone.cli import context
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, say, table

if TYPE_CHECKING:
    from bondstone.model.attestation import PublicKeys
    from bondstone.store.objects import Objects

EXIT_BROKEN: Final = 4

app = typer.Typer(
    help="The permanent record of what was done: verify, anchor. Needs the object store and nothing else.",
    no_args_is_help=True,
)


@app.command(
    epilog=examples(
        "bond ledger verify", "bond ledger verify payments/orders", "bond ledger verify --keys platform-keys.json"
    )
)
def verify(
    chain: Annotated[
        str, typer.Argument(metavar="[CHAIN]", help="TEAM/NAME or campaign/NAME; all without", show_default=False)
    ] = "",
    *,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="public keys kept elsewhere, else those in the object store"),
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Walk every chain of records, prove who asked and who approved, and name the first break of each."""
    from bondstone.client.documents.ledger import LedgerBreak, LedgerVerification  # noqa: PLC0415 - --help is fast
    from bondstone.store.ledger_verification import verify as walk  # noqa: PLC0415

    async def run() -> LedgerVerification:
        objects = await _objects()
        result = await walk(objects, _read_keys(keys) if keys else await _keys_of(objects), chain=chain)
        breaks = [LedgerBreak(chain=each.chain, record=each.record, why=each.why) for each in result.breaks]
        return LedgerVerification(
            chains=result.chains,
            records=result.records,
            signed=result.signed,
            attested=result.attested,
            approvals=result.approvals,
            anchored=result.anchored,
            breaks=tuple(breaks),
        )

    document = context.run(run())
    emit(document, output, lambda: _show(document))
    if document.breaks:
        raise typer.Exit(EXIT_BROKEN)


@app.command(epilog=examples("bond ledger anchor"))
def anchor(*, output: Output = OutputFormat.TABLE) -> None:
    """Write down the last record of every chain; keep the digest elsewhere, and nothing can be cut off unseen."""
    from bondstone.client.documents.ledger import LedgerAnchor  # noqa: PLC0415 - --help is fast
    from bondstone.store.ledger_verification import anchor as write  # noqa: PLC0415

    async def run() -> LedgerAnchor:
        made = await write(await _objects())
        return LedgerAnchor(at=made.at, digest=made.digest, chains=len(made.heads))

    document = context.run(run())
    emit(document, output, lambda: say(f"anchored {document.chains} chains: sha256:{document.digest}"))


def _show(document: object) -> None:
    from bondstone.client.documents.ledger import LedgerVerification  # noqa: PLC0415 - see above

    if not isinstance(document, LedgerVerification):
        return
    names = ("chains", "records", "signed", "attested", "approvals", "anchored")
    fields({name: str(getattr(document, name)) for name in names})
    if document.breaks:
        say()
        table(("CHAIN", "RECORD", "WHY"), [(each.chain, each.record, each.why) for each in document.breaks])
    else:
        say("every chain is whole")


async def _objects() -> Objects:
    from bondstone.store.objects import Objects  # noqa: PLC0415 - see above

    return await Objects.open(context.settings().store_url)


async def _keys_of(objects: Objects) -> PublicKeys:
    from bondstone.model.attestation import PublicKeys  # noqa: PLC0415 - see above
    from bondstone.store.signing import PlatformKeys  # noqa: PLC0415

    known = PlatformKeys(objects)
    return PublicKeys(attestation=await known.all("attestation"), permit=await known.all("permit"))


def _read_keys(path: Path) -> PublicKeys:
    """Public keys as `{"attestation": {"ID": "base64"}, "permit": {"ID": "base64"}}`."""
    from bondstone.base.errors import InvalidInput  # noqa: PLC0415 - see above
    from bondstone.model.attestation import PublicKeys  # noqa: PLC0415

    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        uses = {
            use: {name: base64.b64decode(key, validate=True) for name, key in written.get(use, {}).items()}
            for use in ("attestation", "permit")
        }
    except (OSError, ValueError, AttributeError, TypeError, binascii.Error) as error:
        raise InvalidInput(
            f"the public keys cannot be read: {error}",
            where=str(path),
            hint='write {"attestation": {"ID": "BASE64"}, "permit": {"ID": "BASE64"}}',
        ) from None
    return PublicKeys(attestation=uses["attestation"], permit=uses["permit"])
