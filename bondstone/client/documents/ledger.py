"""What programs read of the ledger: `bond ledger … -o json`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from bondstone.base.models import Document


class LedgerBreak(Document):
    """Where a chain of records is not what it should be."""

    chain: str
    """TEAM/NAME, `campaign/NAME` or `anchors`"""
    record: str
    """Key of the object"""
    why: str


class LedgerVerification(Document):
    """What `bond ledger verify` found."""

    chains: int
    records: int
    """Records that were walked, up to the first break of each chain"""
    signed: int
    """Of these, signed by control workers"""
    attested: int
    """Of these, with a proof of who asked"""
    approvals: int
    """Votes that are proved"""
    anchored: int
    """Heads of earlier anchors that are still in their chains"""
    breaks: tuple[LedgerBreak, ...] = ()


class LedgerAnchor(Document):
    """The heads of all chains: what `bond ledger anchor` wrote."""

    at: datetime
    digest: str
    """What to keep elsewhere"""
    chains: int


DOCUMENTS: Final[dict[str, Any]] = {
    "ledger-verify": LedgerVerification,
    "ledger-anchor": LedgerAnchor,
}
