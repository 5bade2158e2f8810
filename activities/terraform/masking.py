"""Where the sensitive values of a plan or a state are, and taking them out of what people see. Pure.

Terraform marks values as sensitive by place. A secret can also turn up in places that it does not mark (the
`output` of a `terraform_data`, a command line in an error), so what is found by place is masked by text too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bondstone.base.redact import MASK, plain_texts

Redact = Callable[[str], str]


def mask(value: Any, sensitive: Any, redact: Redact) -> Any:
    """The value with everything masked that Terraform's parallel tree marks, or that holds a known secret."""
    if sensitive is True:
        return MASK
    if isinstance(value, dict):
        marks = sensitive if isinstance(sensitive, dict) else {}
        return {redact(key): mask(item, marks.get(key), redact) for key, item in value.items()}
    if isinstance(value, list):
        each = sensitive if isinstance(sensitive, list) else []
        return [mask(item, each[index] if index < len(each) else None, redact) for index, item in enumerate(value)]
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool):
        return value
    number = json.dumps(value)
    return value if redact(number) == number else MASK


def document_secrets(document: Mapping[str, Any]) -> set[str]:
    """The texts of all that a plan document (`show -json`) marks as sensitive."""
    declared = _at(document, "configuration", "root_module", "variables")
    variables = _at(document, "variables")
    texts = {
        text
        for name, variable in declared.items()
        if variable.get("sensitive")
        for text in plain_texts(_at(variables, name).get("value"))
    }
    changes = [item.get("change") or {} for item in document.get("resource_changes") or ()]
    changes += [item.get("change") or {} for item in document.get("resource_drift") or ()]
    changes += _at(document, "output_changes").values()
    for change in changes:
        for side in ("before", "after"):
            texts.update(_marked(change.get(side), change.get(f"{side}_sensitive")))
    return texts


def state_secrets(content: Mapping[str, Any]) -> set[str]:
    """The texts of all that a state file marks as sensitive."""
    texts = {
        text
        for output in _at(content, "outputs").values()
        if output.get("sensitive")
        for text in plain_texts(output.get("value"))
    }
    for resource in content.get("resources") or ():
        for instance in resource.get("instances") or ():
            for path in instance.get("sensitive_attributes") or ():
                texts.update(plain_texts(_follow(instance.get("attributes"), path)))
    return texts


def _marked(value: Any, sensitive: Any) -> Iterator[str]:
    if sensitive is True:
        yield from plain_texts(value)
    elif isinstance(value, dict) and isinstance(sensitive, dict):
        for key, mark in sensitive.items():
            yield from _marked(value.get(key), mark)
    elif isinstance(value, list) and isinstance(sensitive, list):
        for item, mark in zip(value, sensitive, strict=False):
            yield from _marked(item, mark)


def _follow(value: Any, path: Any) -> Any:
    """The value at a path of the state format: steps like `{"type": "get_attr", "value": "password"}`."""
    for step in path if isinstance(path, list) else ():
        key = step.get("value") if isinstance(step, dict) else None
        if isinstance(key, dict):
            key = key.get("value")
        if isinstance(value, dict) and value.keys() == {"value", "type"} and key not in value:
            value = value["value"]  # how the state writes an attribute whose type is not fixed
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _at(tree: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        tree = tree.get(key) or {}
    return tree
