"""A Terraform module as the draft of a promise: inputs from its variables, outputs from its outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import hcl2

from bondstone.activities.terraform.type_schema import NotLiteralError, converted, literal, type_schema
from bondstone.base.errors import InvalidInput
from bondstone.executors.scaffold import Draft, fits

_CLAUSE: Final = re.compile(r"\s*&&\s*")
_HEREDOC: Final = re.compile(r'^"?<<-?(\w+)\n(.*?)\n\s*\1"?$', re.DOTALL)
_BUILT_IN: Final = frozenset({"terraform"})
_TARGET: Final = "terraform/main"


def draft(module: Path) -> Draft:
    """Read a root module.

    Args:
        module: Its folder.

    Raises:
        InvalidInput: when the folder holds no module, or a file of it does not parse.
    """
    contents = list(_contents(module))
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []
    left: list[str] = []
    variables: dict[str, str] = {}
    for content in contents:
        for name, body in _blocks(content, "variable"):
            schema, lost = _input(name, body)
            left += lost
            if body.get("ephemeral") in {True, "true"}:
                left.append(f"variable {name}: it is ephemeral, which a saved plan cannot hold; it is not passed")
                continue
            properties[name] = schema
            variables[name] = f"${{inputs.{name}}}"
            if "default" not in body:
                required.append(name)
    inputs: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    if required:
        inputs["required"] = required
    left += [
        f"module {name}: its source {source} is outside of the folder, so it is not part of the promise"
        for content in contents
        for name, body in _blocks(content, "module")
        if (source := _text(body.get("source"))).startswith("..")
    ]
    providers = sorted({provider for content in contents for provider in _providers(content)} - _BUILT_IN)
    return Draft(
        kind="terraform",
        source=f"the Terraform module `{module.name}`",
        section={"module": _TARGET, "variables": variables} if variables else {"module": _TARGET},
        inputs=inputs,
        outputs=_outputs(contents),
        folder=(module, _TARGET),
        untranslated=left,
        plannable=not providers and not any(_blocks(content, "module") for content in contents),
    )


def _contents(module: Path) -> Iterator[Mapping[str, Any]]:
    if not module.is_dir():
        raise InvalidInput(f"{module} is not a folder", hint="name the folder that holds the module's *.tf files")
    files = [file for file in sorted(module.iterdir()) if file.is_file() and _parser(file.name)]
    if not files:
        raise InvalidInput(f"{module} holds no *.tf file", hint="name the folder of the module itself")
    for file in files:
        parse = _parser(file.name)
        try:
            yield parse(file.read_text(encoding="utf-8-sig")) if parse else {}
        except Exception as error:
            raise InvalidInput(
                f"{file.name} does not parse: {str(error).splitlines()[0][:200]}",
                where=str(file),
                hint="`terraform validate` in that folder says more",
            ) from error


def _parser(name: str) -> Callable[[str], Any] | None:
    """What reads a file: python-hcl2, by which a draft tells texts from expressions."""
    if name.endswith(".tf"):
        return lambda text: hcl2.loads(text if text.endswith("\n") else f"{text}\n")
    return json.loads if name.endswith(".tf.json") else None


def _blocks(content: Any, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The blocks of a kind with one label; JSON has them in an object, HCL in a list of such."""
    blocks = content.get(kind) if isinstance(content, dict) else None
    for item in blocks if isinstance(blocks, list) else [blocks]:
        for label, body in item.items() if isinstance(item, dict) else ():
            first = body[0] if isinstance(body, list) and body else body
            if isinstance(first, dict):
                yield str(label).strip('"'), first


def _input(name: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    left: list[str] = []
    schema: dict[str, Any] = {}
    if "type" in body:
        try:
            schema = type_schema(_expression(body["type"]))
        except NotLiteralError as error:
            left.append(f"variable {name}: its type was not understood ({error}); any value is taken")
    if text := _text(body.get("description")):
        schema["description"] = text
    secret = body.get("sensitive") in {True, "true", '"true"'}
    if secret:
        schema["writeOnly"] = True
    if "default" in body:
        left += _default(name, body["default"], schema)
    for check in _validations(body):
        left += _translate(name, check, schema)
    return schema, left


def _default(name: str, written: Any, schema: dict[str, Any]) -> list[str]:
    """Add a variable's default to its schema, or say why it is not there."""
    try:
        default = converted(_literal(written), schema)
    except NotLiteralError:
        return [f"variable {name}: its default is an expression; without a value, the module's own is used"]
    if default is None:
        return []
    if schema.get("writeOnly"):
        return [f"variable {name}: its default is not shown, because it is sensitive"]
    if not fits(schema, default):
        return [f"variable {name}: its default does not fit its type in JSON; the module's own is used"]
    schema["default"] = default
    return []


def _validations(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    blocks = body.get("validation")
    for block in blocks if isinstance(blocks, list) else [blocks]:
        if isinstance(block, Mapping):
            yield block


def _translate(name: str, check: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """Add to the schema what a validation says; what it cannot say is returned."""
    condition = _expression(check.get("condition", ""))
    variable = rf"var\.{re.escape(name)}"
    for clause in _CLAUSE.split(condition):
        rule = _rule(_unwrapped(clause), variable, schema)
        if rule is None:
            message = _text(check.get("error_message"))
            return [f"variable {name}: a validation was not translated: {message or condition}"]
        schema.update(rule)
    return []


def _rule(clause: str, variable: str, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    if match := re.fullmatch(rf"contains\((\[.*\]),\s*{variable}\)", clause, re.DOTALL):
        try:
            return {"enum": literal(match[1])}
        except NotLiteralError:
            return None
    if match := re.fullmatch(rf'can\(regex\(("(?:[^"\\]|\\.)*"),\s*{variable}\)\)', clause):
        pattern = literal(match[1])
        return {"pattern": pattern} if not re.search(r"\(\?", pattern) else None
    if match := re.fullmatch(rf"(length\()?{variable}(\))?\s*(<=|>=|<|>|==)\s*(-?\d+(?:\.\d+)?)", clause):
        return _bound(match[3], literal(match[4]), of_length=bool(match[1]), kind=schema.get("type"))
    return None


def _bound(operator: str, value: float, *, of_length: bool, kind: Any) -> dict[str, Any] | None:
    if not of_length:
        word = {"<=": "maximum", ">=": "minimum", "<": "exclusiveMaximum", ">": "exclusiveMinimum"}.get(operator)
        return {word: value} if word and kind in {"number", "integer"} else {"const": value}
    suffix = {"string": "Length", "array": "Items", "object": "Properties"}.get(str(kind))
    if suffix is None:
        return None
    limits = {
        "<=": {f"max{suffix}": value}, "<": {f"max{suffix}": value - 1},
        ">=": {f"min{suffix}": value}, ">": {f"min{suffix}": value + 1},
        "==": {f"min{suffix}": value, f"max{suffix}": value},
    }  # fmt: skip
    return limits[operator]


def _outputs(contents: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    outputs: dict[str, dict[str, Any]] = {}
    for content in contents:
        for name, body in _blocks(content, "output"):
            output: dict[str, Any] = {"type": "any", "value": f"${{steps.main.outputs.{name}}}"}
            if text := _text(body.get("description")):
                output["description"] = text
            if body.get("sensitive") in {True, "true", '"true"'}:
                output["secret"] = True
            outputs[name] = output
    return outputs


def _providers(content: Mapping[str, Any]) -> Iterator[str]:
    """The providers that a module uses, by the first word of each resource type."""
    for kind in ("resource", "data"):
        blocks = content.get(kind)
        for block in blocks if isinstance(blocks, list) else [blocks]:
            for label in block if isinstance(block, Mapping) else ():
                yield str(label).strip('"').partition("_")[0]


def _expression(value: Any) -> str:
    text = str(value)
    return text[2:-1] if text.startswith("${") and text.endswith("}") else text.strip('"')


def _unwrapped(clause: str) -> str:
    text = clause.strip()
    return text[1:-1].strip() if text.startswith("(") and text.endswith(")") and text.count("(") == 1 else text


def _text(value: Any) -> str:
    """A description: a quoted text or a heredoc, as one paragraph."""
    if not isinstance(value, str):
        return ""
    match = _HEREDOC.match(value)
    if match is None and value.startswith('"') and value.endswith('"'):
        try:
            value = str(literal(value))
        except (NotLiteralError, ValueError):
            value = value[1:-1]
    return " ".join((match[2] if match else value).split())


def _literal(value: Any) -> Any:
    """A default as python-hcl2 gives it: texts keep their quotes, expressions stand in `${…}`."""
    if isinstance(value, str):
        if match := _HEREDOC.match(value):
            return match[2]
        return literal(_expression(value) if value.startswith("${") else value)
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, dict):
        return {str(key).strip('"'): _literal(item) for key, item in value.items() if key != "__is_block__"}
    return value
