"""What programs read of applied manifests: `bond apply -o json` and `bond diff -o json`."""

from __future__ import annotations

from typing import Any, Final, Literal

from bondstone.base.errors import ErrorInfo
from bondstone.base.models import Document
from bondstone.client.documents.service import OperationDocument


class FieldDifference(Document):
    """One value that is other than the manifest says."""

    path: str
    """As in inputs.size, labels.tier or version"""
    live: Any = None
    """What there is; null for nothing, secrets by where they come from"""
    wanted: Any = None
    """What the manifest says; null when it says nothing of it: the default of a service comes back, and of all
    other kinds it goes away"""
    elsewhere: bool = False
    """Somebody changed it since the manifest was applied, or the service was never made from one"""


class AppliedManifest(Document):
    """What one manifest leads to."""

    kind: Literal["Service", "Campaign", "Promise", "Schedule", "Freeze", "PolicySet", "Access"]
    name: str
    """TEAM/NAME of a service"""
    file: str
    """Where it stands; empty for what is pruned"""
    line: int = 1
    action: Literal["create", "change", "record", "unchanged", "conflict", "prune"]
    """record: it is as the manifest says already, and belongs to the manifest from now on. conflict: nothing is
    done, `note` and `differences` say why. prune: no manifest asks for it any more"""
    differences: tuple[FieldDifference, ...] = ()
    note: str = ""
    operations: tuple[str, ...] = ()
    """TEAM/NAME/op/N of each operation that was asked for"""
    error: ErrorInfo | None = None
    """Why it was refused, when it was; what stands behind a refused rule of the platform is refused with it"""

    @property
    def label(self) -> str:
        """Its kind and name in words: `policy set organisation`."""
        return f"{'policy set' if self.kind == 'PolicySet' else self.kind.lower()} {self.name}"


class ApplyDocument(Document):
    """What manifests lead to: `bond apply -o json`, and with nothing done `bond diff -o json`."""

    differs: bool
    """Whether anything differs from the manifests, or did"""
    counts: dict[str, int]
    """Manifests by action; no zeros"""
    manifests: tuple[AppliedManifest, ...]
    operations: tuple[OperationDocument, ...] = ()
    """With --wait, what was asked for as it ended; with --dry-run, the trials"""


DOCUMENTS: Final[dict[str, Any]] = {"apply": ApplyDocument}
"""Command to the type of its `-o json`; `diff` answers as `apply`."""
