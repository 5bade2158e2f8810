"""A request form drawn from the JSON Schema of a promise, and what a person typed into it as inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from bondstone.base.errors import InputsInvalid, Problem
from bondstone.console.conditions import MAX_ROUNDS, deciding, effective
from bondstone.promise.schema import fields_of, resolved, walk

Widget = Literal["text", "textarea", "number", "select", "switch", "secret", "json"]
PREFIX: Final = "input."
LONG_TEXT: Final = 200
MAX_NESTING: Final = 3
"""Objects further down are typed as JSON, unless a secret is in them."""
_MATCH_LINE_ENDS: Final = ("\\n", "\\r", "\\s", "\\S", "\\W", "\\D", "\\P", "\\x", "\\u", "[^", "(?", "\n")
"""Parts of a pattern that may match an end of a line; a plain dot does not."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form."""

    path: str
    """Dotted path of the input: `account.user`."""
    title: str
    description: str
    widget: Widget
    required: bool
    value: str
    """What stands in the field at first; always empty for a secret."""
    options: tuple[tuple[str, str], ...] = ()
    """Value and label of each choice."""
    attributes: tuple[tuple[str, str], ...] = ()
    """HTML attributes that check while a person types."""
    decides: bool = False
    """Whether it depends on this field what else is asked."""
    is_text: bool = True
    """Whether what is typed is a text; a secret of another type is typed as JSON."""
    has_lines: bool = False
    """Whether a secret may have several lines, as a key in PEM has."""

    @property
    def name(self) -> str:
        """Its name in the form."""
        return PREFIX + self.path


def fields(schema: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> list[FormField]:
    """The fields of a schema, objects flattened.

    Args:
        schema: JSON Schema of inputs.
        values: What a service has now; its secrets are masked and never shown. These values and the defaults
            decide what the conditions of the schema ask for.
    """
    return list(_Drawer(schema).fields(schema, values or {}))


def drawn(
    schema: Mapping[str, Any], form: Mapping[str, str], current: Mapping[str, Any] | None = None
) -> list[FormField]:
    """The fields that a schema asks for as a form is filled in, with what was typed; a secret is typed again.

    Args:
        schema: As for `fields`.
        form: Field names to texts.
        current: For an update: what the service has now. Its secrets stay where none is typed.
    """
    return [
        replace(field, value=form[field.name]) if field.name in form and field.widget != "secret" else field
        for field in _fitting(schema, form, current or {})
    ]


def unseen(shown: Iterable[FormField], form: Mapping[str, str]) -> list[str]:
    """The titles of fields that are asked for by what was chosen, and were not in the form that was sent.

    Args:
        shown: The fields, as `drawn` has them.
        form: Field names to texts.
    """
    fields = list(shown)
    if not any(field.decides for field in fields):
        return []  # nothing that was chosen changes what is asked
    return [field.title for field in fields if field.name not in form]


def typed(
    schema: Mapping[str, Any], form: Mapping[str, str], current: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The inputs that a submitted form holds.

    Args:
        schema: As for `fields`.
        form: Field names to texts.
        current: For an update: what the service has now. An emptied field, and one that the choices no longer ask
            for, is null then (back to the default) instead of left out.

    Raises:
        InputsInvalid: a field that holds JSON or a number does not.
    """
    inputs: dict[str, Any] = {}
    problems: list[Problem] = []
    shown = _fitting(schema, form, current or {})
    for field in shown:
        text = form.get(field.name)
        if text is None:
            continue
        if text.strip() == "":
            if current is not None and field.widget != "secret":
                _place(inputs, field.path, None)
            continue
        try:
            _place(inputs, field.path, _value(field, text))
        except ValueError:
            problems.append(Problem(message=f"{field.path} is not {_EXPECTED[field.widget]}"))
    if problems:
        raise InputsInvalid("some fields cannot be read", problems=problems, hint="correct them and send again")
    paths = [field.path for field in shown]
    for field in fields(schema, current or {}):
        is_asked = any(f"{field.path}.".startswith(f"{path}.") for path in paths)
        if not is_asked and _at(current or {}, field.path) is not None:
            _place(inputs, field.path, None)
    return inputs


def _fitting(schema: Mapping[str, Any], form: Mapping[str, str], current: Mapping[str, Any]) -> list[FormField]:
    """The fields that a schema asks for, as the form is filled in: what is typed may ask for more."""
    shown = fields(schema)
    for _ in range(MAX_ROUNDS):
        values: dict[str, Any] = {}
        for field in shown:
            if form.get(field.name, "").strip():
                with suppress(ValueError):
                    _place(values, field.path, _value(field, form[field.name]))
            elif field.widget == "secret" and (kept := _at(current, field.path)) is not None:
                _place(values, field.path, kept)
        before, shown = shown, fields(schema, values)
        if [field.name for field in shown] == [field.name for field in before]:
            break
    return shown


class _Drawer:
    """Draws the fields of one schema.

    Args:
        root: The whole schema.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._secrets = frozenset(item.path for item in walk(fields_of(root)) if item.secret)

    def fields(
        self, schema: Mapping[str, Any], values: Mapping[str, Any], prefix: str = "", depth: int = 0
    ) -> Iterator[FormField]:
        """The fields of an object."""
        fitting = effective(schema, values, self._root)
        required, decides = fitting.get("required", ()), deciding(schema, self._root)
        for name, declared in fitting.get("properties", {}).items():
            if declared is False:
                continue  # not with these choices
            inner = resolved(declared, self._root)
            path = f"{prefix}{name}"
            value = values.get(name, inner.get("default"))
            if path in self._secrets:
                inner = {**inner, "writeOnly": True}
            elif inner.get("type") == "object" and inner.get("properties") and self._is_flattened(path, depth):
                yield from self.fields(inner, value if isinstance(value, dict) else {}, f"{path}.", depth + 1)
                continue
            yield _field(path, inner, required=name in required, value=value, decides=name in decides)

    def _is_flattened(self, path: str, depth: int) -> bool:
        """Whether an object has fields of its own; as JSON it would send a secret back as its mask."""
        return depth < MAX_NESTING or any(secret.startswith(f"{path}.") for secret in self._secrets)


def _field(path: str, schema: Mapping[str, Any], *, required: bool, value: Any, decides: bool) -> FormField:
    widget = _widget(schema)
    if widget == "text" and isinstance(value, str) and "\n" in value:
        widget = "textarea"  # a browser takes the ends of lines out of a field of one line
    has_lines = widget == "secret" and _may_have_lines(schema)
    return FormField(
        path=path,
        title=str(schema.get("title") or path),
        description=str(schema.get("description", "")),
        widget=widget,
        required=required and "default" not in schema,
        value="" if widget == "secret" else _shown(value, widget),
        options=_options(schema, widget),
        attributes=tuple(_attributes(schema, widget, has_lines=has_lines)),
        decides=decides,
        is_text=schema.get("type") in {None, "string"},
        has_lines=has_lines,
    )


def _widget(schema: Mapping[str, Any]) -> Widget:
    if schema.get("writeOnly"):
        return "secret"
    if schema.get("enum") or "const" in schema:
        return "select"
    kind = schema.get("type")
    simple: dict[Any, Widget] = {"boolean": "switch", "integer": "number", "number": "number"}
    if isinstance(kind, str) and kind in simple:
        return simple[kind]
    if kind == "string":
        is_long = int(schema.get("maxLength", 0)) > LONG_TEXT
        return "textarea" if is_long and "format" not in schema else "text"  # a host or an address is one line
    return "json"


def _options(schema: Mapping[str, Any], widget: Widget) -> tuple[tuple[str, str], ...]:
    if widget == "switch":
        return (("true", "yes"), ("false", "no"))
    if widget == "select":
        return tuple((json.dumps(value), value if isinstance(value, str) else json.dumps(value))
                     for value in ([schema["const"]] if "const" in schema else schema["enum"]))  # fmt: skip
    return ()


def _may_have_lines(schema: Mapping[str, Any]) -> bool:
    """Whether a schema lets a text have ends of lines; where that is not certain, it does."""
    if schema.get("type") not in {None, "string"}:
        return False
    if "enum" in schema or "const" in schema:
        choices = [schema["const"]] if "const" in schema else schema["enum"]
        return any("\n" in choice for choice in choices if isinstance(choice, str))
    pattern = str(schema.get("pattern", ""))
    is_whole = pattern.startswith("^") and pattern.endswith("$") and "|" not in pattern
    return not is_whole or any(part in pattern for part in _MATCH_LINE_ENDS)


def _attributes(
    schema: Mapping[str, Any], widget: Widget, *, has_lines: bool = False
) -> Iterator[tuple[str, str]]:
    names = {"minimum": "min", "maximum": "max"} if widget == "number" else {
        "minLength": "minlength", "maxLength": "maxlength", "pattern": "pattern",
    }  # fmt: skip
    if widget in {"number", "text", "textarea", "secret"}:
        for key, attribute in names.items():
            if key in schema and not (key == "pattern" and (widget == "textarea" or has_lines)):
                yield attribute, str(schema[key])
    if widget == "number":
        yield "step", "1" if schema.get("type") == "integer" else "any"


def _shown(value: Any, widget: Widget) -> str:
    if value is None:
        return ""
    if widget in {"select", "switch", "json"} or not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value


def _value(field: FormField, text: str) -> Any:
    if field.widget == "number":
        return int(text) if dict(field.attributes).get("step") == "1" else float(text)
    if field.widget in {"select", "switch", "json"}:
        return _json(text)
    if field.widget == "secret" and not field.is_text:
        return _json(text)
    plain = text.replace("\r\n", "\n")
    if field.has_lines and plain.find("\n") == len(plain) - 1:
        return plain.removesuffix("\n")  # Enter after a password of one line is no part of it
    return plain


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its lists or objects are nested too deeply") from None


def _at(tree: Any, path: str) -> Any:
    """The value at a path; None where there is none."""
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return tree


def _place(tree: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        tree = tree.setdefault(name, {})
    tree[last] = value


_EXPECTED: Final[Mapping[Widget, str]] = {
    "number": "a number", "json": "JSON", "select": "one of the choices", "switch": "yes or no", "secret": "JSON",
    "text": "text", "textarea": "text",
}  # fmt: skip
