"""A request as Kratix has it, as the manifest of a service: kind to promise, namespace to team, spec to inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from bondstone.base.errors import Problem
from bondstone.client.manifests.entries import Reading, RequestEntry, ServiceEntry, is_first
from bondstone.documents.yaml_places import Path_, PlacedDocument, did_you_mean, model_problems
from bondstone.model.manifest import ServiceManifest
from bondstone.model.promise import API_VERSION

if TYPE_CHECKING:
    from bondstone.client.documents.promise import PromiseDocument, RequestKindDocument

PROMISE_ANNOTATION: Final = "bondstone.dev/promise"
"""Names the promise where several take requests of one kind."""
VERSION_ANNOTATION: Final = "bondstone.dev/version"
"""The exact version, as `spec.version` of a Service."""
_ANNOTATIONS: Final = (PROMISE_ANNOTATION, VERSION_ANNOTATION)
_NO_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_KINDS_NAMED: Final = 10
_KRATIX_GROUP: Final = "platform.kratix.io"
"""Of Kratix's own objects, which are no requests."""


@dataclass(frozen=True, slots=True)
class _Fields:
    """A request's spec, taken apart by what a promise makes of it."""

    inputs: dict[str, Any]
    places: dict[Path_, Path_]
    """Path of an input in the manifest of a service, to that of its field in the request."""
    problems: list[Problem]


def read_request(document: PlacedDocument, kind: str, reading: Reading) -> bool:
    """Take an object of another API group: which promise takes it is known when the platform has been asked.

    Args:
        document: The object.
        kind: What it says that it is.
        reading: What was read so far.

    Returns:
        Whether it is of another group than ours and a cluster's core.
    """
    version = document.data.get("apiVersion")
    group = version.partition("/")[0] if isinstance(version, str) and "/" in version else ""
    if group in {"", API_VERSION.partition("/")[0]}:
        return False
    problem = _flaw(document, group, kind)
    if problem is not None:
        reading.problems.append(problem)
        return True
    metadata = document.data["metadata"]
    service = f"{metadata['namespace']}/{metadata['name']}"
    if is_first(f"service {service}", document, reading):
        reading.requests.append(RequestEntry(document, version, kind, service))
    return True


def promise_of(entry: RequestEntry, promises: Iterable[PromiseDocument]) -> tuple[str, Problem | None]:
    """The name of the promise that a request is one of; else why none is.

    Args:
        entry: The request.
        promises: All that there are, each in its newest version.
    """
    known = {each.promise: each for each in promises if each.request_kinds}
    takers = sorted(name for name, each in known.items() if _taken(entry, each) is not None)
    named = entry.annotation(PROMISE_ANNOTATION)
    if named:
        if named in takers:
            return named, None
        words = f"the promise {named} takes no requests of {entry.kind_words}"
        hint = f"{' and '.join(takers)} does" if len(takers) == 1 else did_you_mean(named, takers)
        return "", entry.document.problem(("metadata", "annotations", PROMISE_ANNOTATION), words, hint=hint)
    if len(takers) == 1:
        return takers[0], None
    if takers:
        words = f"several promises take requests of {entry.kind_words}: {', '.join(takers)}"
        hint = f"name one in metadata.annotations: {PROMISE_ANNOTATION}: {takers[0]}"
        return "", entry.document.problem(("kind",), words, hint=hint)
    return "", entry.document.problem(
        ("kind",), f"no promise takes requests of {entry.kind_words}", hint=_known_kinds(entry, known.values())
    )


def as_service(entry: RequestEntry, promise: PromiseDocument) -> tuple[ServiceEntry | None, list[Problem]]:
    """The service that a request asks for, each place of it where the request has it.

    Args:
        entry: The request.
        promise: The revision that its service is of.
    """
    kind = _taken(entry, promise)
    if kind is None:
        words = f"{promise.revision} takes no requests of {entry.kind_words}"
        kinds = ", ".join(f"{each.api_version} {each.kind}" for each in promise.request_kinds)
        return None, [entry.document.problem(("apiVersion",), words, hint=f"it takes {kinds}" if kinds else "")]
    data = entry.document.data
    fields = _taken_apart(entry.document, data.get("spec"), kind, promise)
    problems = [*_misplaced(entry), *fields.problems]
    if problems:
        return None, problems
    metadata = data["metadata"]
    spec: dict[str, Any] = {"promise": promise.promise, "inputs": fields.inputs}
    if version := entry.annotation(VERSION_ANNOTATION):
        spec["version"] = version
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "Service",
        "metadata": {
            "team": metadata["namespace"],
            "name": metadata["name"],
            "labels": metadata.get("labels") or {},
        },
        "spec": spec,
    }
    document = _moved(entry.document, manifest, fields.places)
    try:
        return ServiceEntry(document, ServiceManifest.model_validate(manifest)), []
    except ValidationError as error:
        return None, model_problems(document, error, ServiceManifest)


# Helpers ----------------------------------------------------------------------------------------------------


def _flaw(document: PlacedDocument, group: str, kind: str) -> Problem | None:
    """Why an object cannot be a request of any promise."""
    if group == _KRATIX_GROUP:
        hint = "make a promise of it: `bond promise init NAME --from kratix:FILE`" if kind == "Promise" else ""
        return document.problem(("kind",), f"a {kind} of Kratix is not applied from here", hint=hint)
    metadata = document.data.get("metadata")
    about = metadata if isinstance(metadata, Mapping) else {}
    if not isinstance(about.get("namespace"), str):
        words = f"the {kind} names no namespace, and so no team"
        hint = "write metadata.namespace: the team that owns the service"
        return document.problem(("metadata", "namespace"), words, hint=hint)
    if not isinstance(about.get("name"), str):
        words = f"the {kind} has no name, which becomes that of its service"
        return document.problem(("metadata", "name"), words, hint="write metadata.name")
    return None


def _taken(entry: RequestEntry, promise: PromiseDocument) -> RequestKindDocument | None:
    wanted = (entry.api_version, entry.kind)
    return next((each for each in promise.request_kinds if (each.api_version, each.kind) == wanted), None)


def _known_kinds(entry: RequestEntry, promises: Iterable[PromiseDocument]) -> str:
    """What there is to ask for; of one kind in another version or group that alone."""
    known = [(each.promise, kind) for each in promises for kind in each.request_kinds]
    same = [(name, kind) for name, kind in known if kind.kind.lower() == entry.kind.lower()]
    words = [f"{kind.api_version} {kind.kind} (promise {name})" for name, kind in same or known]
    if not words:
        return "publish the promise: `bond promise init NAME --from kratix:FILE` makes it from one of Kratix"
    more = f" and {len(words) - _KINDS_NAMED} more" if len(words) > _KINDS_NAMED else ""
    return f"requests are taken of {', '.join(words[:_KINDS_NAMED])}{more}"


def _misplaced(entry: RequestEntry) -> Iterator[Problem]:
    """What a request says outside of its spec that a service has no place for."""
    document, data = entry.document, entry.document.data
    for key in sorted(data.keys() - _NO_FIELDS):
        yield document.problem((key,), f"a request has no {key!r}: what it asks for is in its spec", key=True)
    unknown = [
        key for key in entry.annotations if str(key).startswith("bondstone.dev/") and key not in _ANNOTATIONS
    ]
    for key in unknown:
        hint = did_you_mean(str(key), _ANNOTATIONS)
        path = ("metadata", "annotations", key)
        yield document.problem(path, f"there is no annotation {key!r}", hint=hint, key=True)


def _taken_apart(
    document: PlacedDocument, spec: Any, kind: RequestKindDocument, promise: PromiseDocument
) -> _Fields:
    fields = _Fields({}, {}, [])

    def look(value: Any, path: tuple[str, ...]) -> None:
        dotted = ".".join(path)
        if name := kind.fields.get(dotted):
            if value is None:  # an API server drops nulls
                return
            *outer, last = name.split(".")
            at = fields.inputs
            for key in outer:
                at = at.setdefault(key, {})
            at[last] = value
            fields.places[("spec", "inputs", *name.split("."))] = path
        elif isinstance(value, Mapping) and (
            len(path) == 1 or any(each.startswith(f"{dotted}.") for each in kind.fields)
        ):
            for key, inner in value.items():
                look(inner, (*path, str(key)))
        else:
            hint = did_you_mean(dotted, kind.fields)
            fields.problems.append(
                document.problem(path, f"{promise.promise} takes no {dotted}", hint=hint, key=True)
            )

    look({} if spec is None else spec, ("spec",))
    return fields


def _moved(document: PlacedDocument, manifest: dict[str, Any], fields: Mapping[Path_, Path_]) -> PlacedDocument:
    """The document of a service that is not there, with the places of the request that is."""
    moves = {
        ("metadata", "team"): ("metadata", "namespace"),
        ("metadata", "name"): ("metadata", "name"),
        ("metadata", "labels"): ("metadata", "labels"),
        ("spec", "promise"): ("kind",),
        ("spec", "version"): ("metadata", "annotations", VERSION_ANNOTATION),
        ("spec", "inputs"): ("spec",),
        **fields,
    }
    placed = PlacedDocument(document.file, manifest)
    for new, old in moves.items():
        for known, kept in ((document.keys, placed.keys), (document.values, placed.values)):
            kept.update({(*new, *path[len(old) :]): at for path, at in known.items() if path[: len(old)] == old})
    if (whole := document.values.get(())) is not None:
        placed.values[()] = whole
    return placed
