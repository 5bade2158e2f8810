"""Services, promises and teams as entities of Backstage's catalog. Pure, and without anything personal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from bondstone.base.backstage_settings import BackstageSettings
from bondstone.base.canonical import digest
from bondstone.client.documents.promise import PromiseDocument
from bondstone.model.service_row import ServiceRow

Entity = dict[str, Any]
API_VERSION: Final = "backstage.io/v1alpha1"
ANNOTATION: Final = "bondstone.dev"
MAX_NAME: Final = 63
_DIGEST_CHARS: Final = 10
_LABEL_VALUE: Final = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$")
_TAG: Final = re.compile(r"^[a-z0-9+#]+(-[a-z0-9+#]+)*$")
_RUNNING: Final = "an operation runs"


@dataclass(frozen=True, slots=True)
class Places:
    """Where links lead.

    Args:
        settings: Of the Backstage.
        api: URL of the API and the console, as people reach them.
    """

    settings: BackstageSettings
    api: str

    def console(self, path: str) -> str:
        """A page of the console."""
        return f"{self.api.rstrip('/')}{path}"

    def template(self, name: str, form: str = "") -> str:
        """A template's page, with the form filled in.

        Args:
            name: Of the template.
            form: JSON of values.
        """
        data = f"?formData={quote(form)}" if form else ""
        return f"{self.settings.pages_url}/create/templates/default/{name}{data}"


def entity_name(*parts: str) -> str:
    """A name of the catalog for parts that are names of the platform: one for each, whatever their length.

    Args:
        parts: Letters, digits and dashes each, so that a dot between them tells them apart.
    """
    name = ".".join(parts)
    if len(name) <= MAX_NAME:
        return name
    # `_` is in no name of the platform: a shortened name cannot be another's whole one.
    return f"{name[: MAX_NAME - _DIGEST_CHARS - 1].rstrip('-.')}_{digest(name.encode())[:_DIGEST_CHARS]}"


def group_name(team: str, settings: BackstageSettings) -> str:
    """The group that stands for a team."""
    return entity_name(settings.team.replace("{team}", team))


def owner(team: str, settings: BackstageSettings) -> str:
    """The reference of a team's group."""
    return f"group:{settings.namespace}/{group_name(team, settings)}"


def resource(row: ServiceRow, places: Places, *, ended: bool) -> Entity:
    """A service.

    Args:
        row: As lists show it.
        places: For its links.
        ended: It was decommissioned or abandoned.
    """
    labels = {
        f"{ANNOTATION}/{key.replace('/', '.')}": value
        for key, value in sorted(row.labels.items())
        if _fits(key, value)
    }
    links = [{"url": places.console(f"/services/{row.id}"), "title": "Console", "icon": "dashboard"}]
    if not ended:
        links += [
            {"url": places.template(f"bond-{verb}", f'{{"service":"{row.id}"}}'), "title": title, "icon": "create"}
            for verb, title in (("patch", "Patch"), ("decommission", "Decommission"))
        ]
    return {
        "apiVersion": API_VERSION,
        "kind": "Resource",
        "metadata": {
            "name": entity_name(row.team, row.name),
            "title": row.id,
            "description": _status(row, ended=ended),
            "labels": labels,
            "annotations": {
                f"{ANNOTATION}/service": row.id,
                f"{ANNOTATION}/promise": row.promise,
                f"{ANNOTATION}/revision": row.revision,
                f"{ANNOTATION}/phase": row.phase,
                f"{ANNOTATION}/health": row.health,
                "backstage.io/source-template": f"template:default/{entity_name(row.promise)}",
            },
            "links": links,
        },
        "spec": {
            "type": row.promise,
            "owner": owner(row.team, places.settings),
            "lifecycle": row.phase,
            "dependsOn": [f"component:default/{entity_name('promise', row.promise)}"],
        },
    }


def component(promise: PromiseDocument, places: Places, note: str = "") -> Entity:
    """A promise, for what depends on it.

    Args:
        promise: At the version that a request would get.
        places: For its links.
        note: What is to be known of its template.
    """
    words = " ".join(part for part in (promise.description or promise.title, note) if part)
    return {
        "apiVersion": API_VERSION,
        "kind": "Component",
        "metadata": {
            "name": entity_name("promise", promise.promise),
            "title": promise.title or promise.promise,
            "description": words,
            "annotations": {
                f"{ANNOTATION}/promise": promise.promise,
                f"{ANNOTATION}/revision": promise.revision,
            },
            "links": [{"url": places.console(f"/catalogue/{promise.promise}"), "title": "Console"}],
        },
        "spec": {
            "type": "promise",
            "lifecycle": "deprecated" if promise.status == "deprecated" else "production",
            "owner": owner(promise.owner, places.settings) if promise.owner else "unknown",
        },
    }


def group(team: str, settings: BackstageSettings) -> Entity:
    """A team."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Group",
        "metadata": {
            "name": group_name(team, settings),
            "namespace": settings.namespace,
            "description": f"Team {team}, which owns services.",
        },
        "spec": {"type": "team", "children": []},
    }


def location(name: str, target: str) -> Entity:
    """A part of the feed, which Backstage reads and keeps by itself."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Location",
        "metadata": {"name": name},
        "spec": {"type": "url", "targets": [target]},
    }


def tags(labels: Iterable[str]) -> Sequence[str]:
    """Those that may be tags of the catalog."""
    return sorted({label for label in labels if _TAG.match(label) and len(label) <= MAX_NAME})


def _status(row: ServiceRow, *, ended: bool) -> str:
    doing = f", {_RUNNING}" if row.operation and not ended else ""
    health = f", {row.health}" if row.health not in {"", "unknown"} and not ended else ""
    drift = f", {row.drift} drifted" if row.drift and not ended else ""
    return f"**{row.phase}**{health}{drift}{doing}: `{row.revision or row.promise}` of team {row.team}"


def _fits(key: str, value: str) -> bool:
    return bool(_LABEL_VALUE.match(key.replace("/", "."))) and (not value or bool(_LABEL_VALUE.match(value)))
