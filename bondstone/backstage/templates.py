"""Software templates: one to request each promise, one to update its services, one for each further verb. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from bondstone.backstage.entities import ANNOTATION, Entity, Places, entity_name, owner, tags
from bondstone.backstage.form_schema import Form, form_of, secret_field
from bondstone.base.errors import PromiseInvalid
from bondstone.base.names import NAME_PATTERN, SERVICE_PATTERN
from bondstone.client.documents.promise import PromiseDocument

API_VERSION: Final = "scaffolder.backstage.io/v1beta3"
WAITS: Final = 4
"""Steps that wait, each for at most four minutes: Backstage gives a call five."""
PROXY_ACTION: Final = "http:backstage:request"
"""Of npm's `@roadiehq/scaffolder-backend-module-http-request`."""
PROXY_MILLISECONDS: Final = 290_000
"""Its own bound is a minute a call."""
VERBS: Final = {
    "patch": ("Patch a service", "Move a service to the newest patch of its version."),
    "upgrade": ("Upgrade a service", "Move a service to another minor or major version."),
    "rollback": ("Roll a service back", "Go back to the last revision and inputs that were healthy."),
    "reconcile": ("Repair a service", "Look for drift, and undo it."),
    "retry": ("Retry a failed operation", "Run the last failed operation of a service again."),
    "decommission": ("Decommission a service", "Destroy a service and free its name."),
}
"""Verb: title and description of its template."""
_VERSIONED: Final = frozenset({"patch", "upgrade"})
_REASON: Final = {"type": "string", "title": "Reason", "description": "Why, for the record.", "maxLength": 500}


def promise_templates(promise: PromiseDocument, places: Places) -> tuple[list[Entity], str]:
    """The templates of a promise, and what is to be known of them.

    Args:
        promise: At the version that a request would get.
        places: For links and owners.
    """
    try:
        form = form_of(promise.input_schema)
    except PromiseInvalid as error:
        return [], f"It has no template: {error.message}."
    note = f"The form does not check: {'; '.join(form.dropped)}." if form.dropped else ""
    return [_request(promise, form, places), _update(promise, form, places)], note


def verb_templates(places: Places) -> list[Entity]:
    """The templates for what any service may be asked."""
    return [_verb(verb, title, description, places) for verb, (title, description) in VERBS.items()]


def _request(promise: PromiseDocument, form: Form, places: Places) -> Entity:
    place = {
        "title": "Service",
        "required": ["team", "name"],
        "properties": {
            "team": {
                "type": "string",
                "title": "Team",
                "description": "The team that owns it.",
                "ui:field": "OwnerPicker",
                "ui:options": {"catalogFilter": {"kind": "Group"}},
            },
            "name": {
                "type": "string",
                "title": "Name",
                "description": "Small letters, digits and dashes.",
                "pattern": NAME_PATTERN,
                "maxLength": 48,
            },
            "reason": _REASON,
        },
    }
    ask = {
        "promise": promise.promise,
        "team": "${{ parameters.team }}",
        "name": "${{ parameters.name }}",
        "inputs": "${{ parameters.inputs }}",
        **_secrets_input(form),
        "reason": "${{ parameters.reason }}",
        "request_id": "${{ context.task.id }}",
    }
    return _template(
        entity_name(promise.promise),
        promise.title or promise.promise,
        promise.description,
        promise,
        places,
        parameters=[place, *_pages(form)],
        action="request-service",
        ask=ask,
        form=form,
    )


def _update(promise: PromiseDocument, form: Form, places: Places) -> Entity:
    changed = Form(inputs=_optional(form.inputs), secrets=form.secrets, required_secrets=(), dropped=form.dropped)
    ask = {
        "verb": "update",
        "service": "${{ parameters.service }}",
        "inputs": "${{ parameters.inputs }}",
        **_secrets_input(changed),
        "reason": "${{ parameters.reason }}",
        "request_id": "${{ context.task.id }}",
    }
    return _template(
        entity_name("bond-update", promise.promise),
        f"Update: {promise.title or promise.promise}",
        "Change inputs of a service; what is left empty stays as it is.",
        promise,
        places,
        parameters=[_which(promise.promise), *_pages(changed)],
        action="operate",
        ask=ask,
        form=changed,
    )


def _verb(verb: str, title: str, description: str, places: Places) -> Entity:
    page = _which("")
    ask = {
        "verb": verb,
        "service": "${{ parameters.service }}",
        "reason": "${{ parameters.reason }}",
        "request_id": "${{ context.task.id }}",
    }
    if verb in _VERSIONED:
        page["properties"]["to"] = {
            "type": "string",
            "title": "Version",
            "description": "Empty: the newest that fits.",
            "maxLength": 80,
        }
        ask["to"] = "${{ parameters.to }}"
    return _template(
        f"bond-{verb}", title, description, None, places, parameters=[page], action="operate", ask=ask
    )


def _template(
    name: str,
    title: str,
    description: str,
    promise: PromiseDocument | None,
    places: Places,
    *,
    parameters: list[dict[str, Any]],
    action: str,
    ask: dict[str, Any],
    form: Form | None = None,
) -> Entity:
    steps = _Steps(places.settings.proxy)
    spec: dict[str, Any] = {
        "type": "service",
        "parameters": parameters,
        "steps": [*steps.asking(action, ask), *steps.waiting()],
        "output": {
            "links": [
                {"title": "Console", "url": steps.output("ask", "console"), "icon": "dashboard"},
                {
                    "title": "Open in catalog",
                    "entityRef": steps.output("ask", "entity"),
                    "if": steps.output("ask", "entity"),
                },
            ],
            "text": [{"title": "What became of it", "content": steps.output("done", "words")}],
        },
    }
    if promise is not None and promise.owner:
        spec["owner"] = owner(promise.owner, places.settings)
    if form is not None and form.secrets:
        spec["secrets"] = {"schema": _secrets_schema(form)}
    metadata: dict[str, Any] = {"name": name, "title": title, "description": description or title}
    if promise is not None:
        metadata["annotations"] = {f"{ANNOTATION}/revision": promise.revision}
        metadata["tags"] = tags(promise.labels.values())
    return {"apiVersion": API_VERSION, "kind": "Template", "metadata": metadata, "spec": spec}


@dataclass(frozen=True, slots=True)
class _Steps:
    """What a template does: calls of actions, by themselves or through Backstage's proxy.

    Args:
        proxy: The endpoint of the proxy; empty where Backstage knows actions.
    """

    proxy: str

    def output(self, step: str, name: str) -> str:
        """The expression for what a step has answered."""
        return f"${{{{ steps.{step}.output.{'body.output.' if self.proxy else ''}{name} }}}}"

    def asking(self, action: str, ask: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask the platform for a change, and fail where it is refused."""
        return [{"id": "ask", "name": "Ask the platform", **self._call(action, ask)}, *self._refusal("ask")]

    def waiting(self) -> list[dict[str, Any]]:
        """Wait for the operation, and fail where it fails."""
        steps: list[dict[str, Any]] = []
        for number in range(1, WAITS + 1):
            wait = self._call("wait-operation", {"operation": self.output("ask", "operation")})
            step_id = "done" if number == WAITS else f"wait{number}"
            steps.append({"id": step_id, "name": "Wait for it" if number == 1 else "Wait on", **wait})
        return [*steps, *self._refusal("done")]

    def _refusal(self, step: str) -> list[dict[str, Any]]:
        """Backstage shows no words of an action that fails, so the words are logged before the task does."""
        problem = self.output(step, "problem")
        return [
            {
                "id": f"{step}-said",
                "name": "Why it was refused" if step == "ask" else "Why it failed",
                "if": problem,
                "action": "debug:log",
                "input": {"message": problem},
            },
            {
                "id": f"{step}-failed",
                "name": "Fail",
                "if": problem,
                **self._call("fail", {"problem": problem}),
            },
        ]

    def _call(self, action: str, action_input: dict[str, Any]) -> dict[str, Any]:
        if not self.proxy:
            return {"action": f"bondstone:{action}", "input": action_input}
        request = {
            "method": "POST",
            "path": f"proxy{self.proxy}/{action}/invoke",
            "headers": {"content-type": "application/json"},
            "timeout": PROXY_MILLISECONDS,
            "body": action_input,
        }
        return {"action": PROXY_ACTION, "input": request}


def _pages(form: Form) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    if form.inputs.get("properties") or form.inputs.get("additionalProperties"):
        pages.append({"title": "Inputs", "properties": {"inputs": {"title": "", **form.inputs}}})
    if form.secrets:
        pages.append(
            {
                "title": "Secrets",
                "properties": {
                    secret_field(path): {**_shown(schema), "ui:field": "Secret"}
                    for path, schema in form.secrets.items()
                },
                **(
                    {"required": [secret_field(path) for path in form.required_secrets]}
                    if form.required_secrets
                    else {}
                ),
            }
        )
    return pages


def _shown(schema: dict[str, Any]) -> dict[str, Any]:
    """What the form checks is the mask that stands for a secret, so only its words are left."""
    return {key: schema[key] for key in ("type", "title", "description") if key in schema}


def _secrets_schema(form: Form) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {secret_field(path): each for path, each in form.secrets.items()},
    }
    if form.required_secrets:
        schema["required"] = [secret_field(path) for path in form.required_secrets]
    return schema


def _secrets_input(form: Form) -> dict[str, Any]:
    if not form.secrets:
        return {}
    return {"secrets": {path: f"${{{{ secrets.{secret_field(path)} }}}}" for path in form.secrets}}


def _which(promise: str) -> dict[str, Any]:
    wanted = {"kind": "Resource", **({"spec.type": promise} if promise else {})}
    return {
        "title": "Service",
        "required": ["service"],
        "properties": {
            "service": {
                "type": "string",
                "title": "Service",
                "description": "TEAM/NAME, or its entity in the catalog.",
                "pattern": f"{SERVICE_PATTERN}|^resource:",
                "ui:field": "EntityPicker",
                "ui:options": {"catalogFilter": wanted, "allowArbitraryValues": True},
            },
            "reason": _REASON,
        },
    }


def _optional(schema: dict[str, Any]) -> dict[str, Any]:
    """Inputs that change: none is required, and no default fills in what was not entered."""
    result = {key: value for key, value in schema.items() if key not in {"required", "default", "dependencies"}}
    if "properties" in result:
        result["properties"] = {name: _optional(each) for name, each in result["properties"].items()}
    return result
