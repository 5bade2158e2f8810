"""One service beside its manifest: what has to be asked of it, or why nothing can be. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from semver import Version

from bondstone.base.errors import InvalidInput, Problem
from bondstone.base.names import SERVICE_EXECUTOR
from bondstone.base.redact import MASK
from bondstone.client.documents.promise import PromiseDocument
from bondstone.client.documents.service import AppliedDocument, ServiceDocument
from bondstone.client.manifests import secrets
from bondstone.client.manifests.entries import STANDARD_INPUT, ServiceEntry
from bondstone.client.manifests.three_way import MISSING, Difference, at, differences, leaves, merged, tree
from bondstone.documents.yaml_places import Path_
from bondstone.model.promise import API_VERSION, Promise
from bondstone.model.secret import REF_KEY
from bondstone.model.service import KeptManifest
from bondstone.promise.inputs import fill_defaults, located_problems
from bondstone.promise.schema import secret_paths

Action = Literal["create", "change", "record", "unchanged", "conflict"]
INPUTS: Final = "inputs"
LABELS: Final = "labels"
VERSION: Final = "version"
_SETTLED: Final = frozenset({"decommissioned", "abandoned"})


@dataclass(frozen=True, slots=True)
class Source:
    """Where a secret comes from, as a value that is compared by what the manifest says."""

    kind: str
    name: str

    def as_json(self) -> dict[str, str]:
        """As it stands in the manifest."""
        return {self.kind: self.name}


@dataclass(frozen=True, slots=True)
class ServiceComparison:
    """What one manifest leads to."""

    entry: ServiceEntry
    action: Action
    differences: tuple[Difference, ...] = ()
    applied: KeptManifest = field(default_factory=KeptManifest)
    """What the service keeps of the manifest."""
    base: KeptManifest = field(default_factory=KeptManifest)
    """What it keeps of the one before."""
    inputs: dict[str, Any] = field(default_factory=dict, repr=False)
    """To send; they may hold secrets."""
    labels: dict[str, str] = field(default_factory=dict)
    remove_labels: tuple[str, ...] = ()
    move: Literal["", "patch", "upgrade"] = ""
    note: str = ""
    has_parts: bool = False
    """Whether it is made of others, or shares them: it is requested after those that stand alone."""

    @property
    def id(self) -> str:
        """`TEAM/NAME`."""
        return self.entry.manifest.id


def is_alive(live: ServiceDocument | None) -> bool:
    """Whether there is a service of that name."""
    return live is not None and live.phase not in _SETTLED


def compare_service(
    entry: ServiceEntry,
    live: ServiceDocument | None,
    promise: PromiseDocument,
    *,
    overwrite: bool = False,
    resend_secrets: bool = False,
) -> tuple[ServiceComparison, list[Problem]]:
    """What a manifest leads to, and what is wrong with it.

    Args:
        entry: The manifest.
        live: The service; None when there is none.
        promise: The revision that the manifest names, or else that the service stands on.
        overwrite: Take back what somebody changed elsewhere.
        resend_secrets: Send secrets again that the service has.
    """
    return _Comparer(entry, live if is_alive(live) else None, promise, overwrite, resend_secrets).compare()


class _Comparer:
    def __init__(
        self,
        entry: ServiceEntry,
        live: ServiceDocument | None,
        promise: PromiseDocument,
        overwrite: bool,  # noqa: FBT001 - private
        resend: bool,  # noqa: FBT001 - private
    ) -> None:
        self.entry, self.live, self.overwrite, self.resend = entry, live, overwrite, resend
        self.schema = promise.input_schema
        self.has_parts = any(step.executor == SERVICE_EXECUTOR for step in promise.steps)
        self.declared = _declared(promise)
        self.secret = secret_paths(self.declared)
        self.problems: list[Problem] = []

    def compare(self) -> tuple[ServiceComparison, list[Problem]]:
        manifest, live = self.entry.manifest, self.live
        wanted = self._sources(manifest.spec.inputs)
        applied = KeptManifest(
            version=manifest.spec.version or "",
            inputs=_as_json(wanted),
            labels=dict(manifest.metadata.labels),
        )
        if live is None or (not live.was_ready and live.ahead is None):
            return self._created(wanted, applied), self.problems
        if any(each.kind == "decommission" and not each.status.ended for each in live.operations):
            note = "it is being decommissioned"
            return ServiceComparison(self.entry, "conflict", applied=applied, note=note), self.problems
        ahead = live.ahead
        base = ahead.applied if ahead is not None else live.applied
        standing = ahead.inputs if ahead is not None else live.inputs
        revision = ahead.revision if ahead is not None else live.revision
        if revision.partition("@")[0] != manifest.spec.promise:
            self._problem(("spec", "promise"), f"{self.entry.manifest.id} is a {revision.partition('@')[0]}")
            return ServiceComparison(self.entry, "conflict", applied=applied), self.problems
        before = self._known_sources(base.inputs) if base is not None else None
        here = self._shown(standing, before, wanted)
        changes = [
            *self._version(base, revision.partition("@")[2]),
            *_under(
                INPUTS, differences(base=before, live=here, wanted=wanted, defaults=fill_defaults(self.schema, {}))
            ),
            *_under(
                LABELS,
                differences(
                    base=base.labels if base is not None else None,
                    live=live.labels,
                    wanted=manifest.metadata.labels,
                    defaults={},
                ),
            ),
        ]
        return self._changed(changes, applied, base, standing), self.problems

    def _created(self, wanted: dict[str, Any], applied: KeptManifest) -> ServiceComparison:
        live = self.live
        values = self._values(wanted)
        self._check(fill_defaults(self.schema, values))
        changes = [
            *_under(INPUTS, [Difference(path, MISSING, value) for path, value in leaves(wanted)]),
            *_under(LABELS, [Difference((key,), MISSING, value) for key, value in applied.labels.items()]),
        ]
        return ServiceComparison(
            self.entry,
            "create",
            tuple(changes),
            applied,
            inputs=values,
            labels=dict(applied.labels),
            note=f"it was {live.phase}, and is requested again" if live is not None else "",
            has_parts=self.has_parts,
        )

    def _changed(
        self,
        changes: list[Difference],
        applied: KeptManifest,
        base: AppliedDocument | None,
        standing: dict[str, Any],
    ) -> ServiceComparison:
        kept = KeptManifest(**base.model_dump()) if base is not None else KeptManifest()
        held = tuple(changes)
        if any(each.elsewhere for each in changes) and not self.overwrite:
            note = "somebody changed it elsewhere" if base is not None else "it was not made from a manifest"
            return ServiceComparison(self.entry, "conflict", held, applied, kept, note=note)
        if not changes:
            action: Action = "unchanged" if kept == applied else "record"
            return ServiceComparison(self.entry, action, (), applied, kept, note=self._standing_note())
        version = next((each for each in changes if each.path == (VERSION,)), None)
        move: Literal["", "patch", "upgrade"] = ""
        if version is not None:
            move, words = _move(str(version.live), str(version.wanted))
            if not move:
                self._problem(("spec", "version"), words)
        inputs = tree(
            {
                each.path[1:]: None if each.wanted is MISSING else each.wanted
                for each in changes
                if each.path[0] == INPUTS
            }
        )
        values = self._values(inputs)
        if values and move != "upgrade":
            self._check(fill_defaults(self.schema, merged(self._masked_as_references(standing), values)))
        labels = {each.path[1]: each.wanted for each in changes if each.path[0] == LABELS}
        return ServiceComparison(
            self.entry,
            "change",
            held,
            applied,
            kept,
            inputs=values,
            labels={key: value for key, value in labels.items() if value is not MISSING},
            remove_labels=tuple(key for key, value in labels.items() if value is MISSING),
            move=move,
        )

    def _version(self, base: AppliedDocument | None, stands: str) -> list[Difference]:
        wanted = self.entry.manifest.spec.version
        if wanted is None or wanted == stands:
            return []
        before = base.version if base is not None else ""
        ours = before == stands or (base is not None and not before and _move(stands, wanted)[0] != "")
        return [Difference((VERSION,), stands, wanted, elsewhere=not ours)]

    # Secrets -------------------------------------------------------------------------------------------------

    def _sources(self, inputs: Mapping[str, Any], at_path: tuple[str, ...] = ()) -> dict[str, Any]:
        """The inputs with `{$env: …}` as one value where a secret is, and with its value elsewhere."""
        sources: dict[str, Any] = {}
        for name, value in inputs.items():
            path = (*at_path, str(name))
            secret = ".".join(path) in self.secret
            if secrets.is_source(value):
                [(kind, source)] = value.items()
                held = Source(kind, str(source))
                sources[name] = held if secret else self._fetch(held, path)
            elif secret and value is not None:
                self._problem(
                    ("spec", INPUTS, *path),
                    f"{'.'.join(path)} is a secret, and a manifest must not hold one",
                    "write {$env: NAME} or {$file: PATH}, and treat the value that was there as disclosed",
                )
            elif isinstance(value, Mapping):
                sources[name] = self._sources(value, path)
            else:
                sources[name] = value
        return sources

    def _known_sources(self, inputs: Mapping[str, Any], at_path: tuple[str, ...] = ()) -> dict[str, Any]:
        """What the manifest before said, in the same form."""
        sources: dict[str, Any] = {}
        for name, value in inputs.items():
            path = (*at_path, str(name))
            if ".".join(path) in self.secret and secrets.is_source(value):
                [(kind, source)] = value.items()
                sources[name] = Source(kind, str(source))
            else:
                sources[name] = self._known_sources(value, path) if isinstance(value, Mapping) else value
        return sources

    def _shown(
        self, inputs: Mapping[str, Any], before: Mapping[str, Any] | None, wanted: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The inputs of the service, each secret as where it came from: its value is nobody's to see."""
        masks = {path: value for path, value in leaves(inputs) if value == MASK and ".".join(path) in self.secret}
        known = {}
        for path in masks:
            now, earlier = at(wanted, path), at(before or {}, path)
            known[path] = now if earlier is MISSING or now is MISSING else earlier
            if self.resend:
                known[path] = MISSING
        return merged(inputs, tree({path: None if value is MISSING else value for path, value in known.items()}))

    def _values(self, inputs: Mapping[str, Any], at_path: tuple[str, ...] = ()) -> dict[str, Any]:
        """Inputs to send: with the values of secrets in them."""
        values: dict[str, Any] = {}
        for name, value in inputs.items():
            path = (*at_path, str(name))
            if isinstance(value, Source):
                values[name] = self._fetch(value, path)
            else:
                values[name] = self._values(value, path) if isinstance(value, Mapping) else value
        return values

    def _fetch(self, source: Source, path: tuple[str, ...]) -> Any:
        file, about = self.entry.document.file, source.as_json()
        if file == STANDARD_INPUT and not Path(about.get(secrets.FILE, "/")).is_absolute():
            words = f"{about[secrets.FILE]} is relative to a file, and this came by {STANDARD_INPUT}"
            self._problem(("spec", INPUTS, *path), words, "write the whole path, or apply the folder: -f DIR")
            return None
        try:
            return secrets.fetch(about, Path(file).parent)
        except InvalidInput as error:
            self._problem(("spec", INPUTS, *path), error.message, error.hint)
            return None

    def _masked_as_references(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with a reference for each secret, which the check of inputs takes as valid."""
        masks = {path for path, value in leaves(inputs) if value == MASK and ".".join(path) in self.secret}
        reference = {REF_KEY: "kept"}
        return merged(inputs, tree(dict.fromkeys(masks, reference)))

    # Problems ------------------------------------------------------------------------------------------------

    def _check(self, inputs: dict[str, Any]) -> None:
        if self.problems:
            return
        for path, problem in located_problems(self.declared, inputs):
            self._problem(("spec", INPUTS, *path), problem.message, problem.hint)

    def _problem(self, path: Path_, message: str, hint: str = "") -> None:
        self.problems.append(self.entry.document.problem(path, message, hint=hint))

    def _standing_note(self) -> str:
        live = self.live
        return f"it is {live.phase}" if live is not None and live.phase != "ready" else ""


def _declared(promise: PromiseDocument) -> Promise:
    """As much of a promise as the check of inputs needs."""
    step = {"id": "main", "executor": "none", "section": {}}
    return Promise.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "Promise",
            "metadata": {"name": promise.promise, "version": promise.version},
            "spec": {"inputs": promise.input_schema, "steps": [step]},
        }
    )


def _move(stands: str, wanted: str) -> tuple[Literal["", "patch", "upgrade"], str]:
    """Which operation leads from one version to another; else why none does."""
    before, after = Version.parse(stands), Version.parse(wanted)
    if after <= before:
        return "", f"it stands on {stands}, and no manifest leads back to {wanted}: `bond service rollback` may"
    return ("patch" if (before.major, before.minor) == (after.major, after.minor) else "upgrade"), ""


def _under(name: str, changes: list[Difference]) -> list[Difference]:
    return [Difference((name, *each.path), each.live, each.wanted, each.elsewhere) for each in changes]


def _as_json(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.as_json()
        if isinstance(value, Source)
        else _as_json(value)
        if isinstance(value, Mapping)
        else value
        for name, value in inputs.items()
    }
