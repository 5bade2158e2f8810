"""`bond ledger`: the permanent record, verified from the object store alone."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from bondstone.cli import context
from bondstone.cli.session import with_platform
from bondstone.terminal.output import Output, OutputFormat, emit, examples, fields, say, table

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bondstone.client.documents.ledger import LedgerVerification
    from bondstone.client.ledger import Ledger
    from bondstone.model.attestation import PublicKeys

EXIT_BROKEN: Final = 4

T = TypeVar("T")

app = typer.Typer(
    help="The permanent record of what was done: verify, export, anchor. From the object store, or by the API.",
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
    document = _run(keys, chain)
    emit(document, output, lambda: _show(document))
    if document.breaks:
        raise typer.Exit(EXIT_BROKEN)


@app.command(epilog=examples("bond ledger anchor"))
def anchor(*, output: Output = OutputFormat.TABLE) -> None:
    """Write down the last record of every chain; keep the digest elsewhere, and nothing can be cut off unseen."""
    document = _with_ledger(lambda ledger: ledger.anchor())
    emit(document, output, lambda: say(f"anchored {document.chains} chains: sha256:{document.digest}"))


@app.command(epilog=examples("bond ledger export payments/orders -f orders.tar"))
def export(
    chain: Annotated[str, typer.Argument(metavar="CHAIN", help="TEAM/NAME or campaign/NAME", show_default=False)],
    *,
    file: Annotated[Path, typer.Option("--file", "-f", metavar="FILE", help="the tar that is written")],
) -> None:
    """Write one chain, with all that proves it, as a tar.

    Unpacked into a folder it is an object store: `BOND_STORE=file:///FOLDER bond ledger verify CHAIN` verifies it.
    """
    content = _with_ledger(lambda ledger: ledger.export(chain))
    file.write_bytes(content)
    say(f"{chain} is in {file}")


def _run(keys: Path | None, chain: str) -> LedgerVerification:
    if keys is None:
        return _with_ledger(lambda ledger: ledger.verify(chain))
    from bondstone.client.direct.client import DirectClient  # noqa: PLC0415 - see `_with_ledger`

    return context.run(DirectClient.of(context.settings()).ledger.verify_by(_read_keys(keys), chain))


def _with_ledger(work: Callable[[Ledger], Coroutine[Any, Any, T]]) -> T:
    """Work on the ledger in the object store; by the API where no store is known here."""
    settings = context.settings()
    if settings.store or (settings.data / "objects").is_dir():
        from bondstone.client.direct.client import DirectClient  # noqa: PLC0415 - --help is fast

        return context.run(work(DirectClient.of(settings).ledger))
    return with_platform(lambda bond: work(bond.ledger))


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
