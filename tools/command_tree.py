"""The table of commands that completion reads: verbs, options, and what each may be followed by."""

from __future__ import annotations

import inspect
import json
import sys
from enum import EnumType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bondstone.cli.app import build

PAGE = "bondstone/cli/command_tree.json"


def text() -> str:
    """The whole file: each command of the root on a line of its own."""
    root = _node(build(), "")
    commands = root.pop("commands")
    lines = ",\n".join(f"{json.dumps(name)}: {_written(node)}" for name, node in commands.items())
    return f'{_written(root)[:-1]}, "commands": {{\n{lines}\n}}}}'


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _node(command: Any, help_text: str) -> dict[str, Any]:
    real = command.loaded() if hasattr(command, "loaded") else command
    params = [param for param in real.params if not param.hidden]
    arguments = [param for param in params if param.param_type_name == "argument"]
    below = [(name, each) for name, each in getattr(real, "commands", {}).items() if not each.hidden]
    declared = _declared(real.callback)
    return {
        "help": help_text,
        "options": [
            {
                "names": [*param.opts, *param.secondary_opts],
                "help": _line(param.help),
                "value": not (param.is_flag or param.count),
                **_values(declared.get(param.name)),
            }
            for param in params
            if param.param_type_name == "option"
        ],
        "arguments": [{"many": param.nargs == -1, **_values(declared.get(param.name))} for param in arguments],
        "commands": {name: _node(each, _line(each.short_help or each.help)) for name, each in below},
    }


def _declared(callback: Any) -> dict[str, Any]:
    """The types of a command's parameters, with what Typer is told of them."""
    if callback is None:
        return {}
    function = inspect.unwrap(callback)
    return get_type_hints(function, vars(sys.modules[function.__module__]), include_extras=True)


def _values(declared: Any) -> dict[str, Any]:
    """What a parameter names, by `completion.NAMES`, and the values that it is one of."""
    function = next((each.autocompletion for each in getattr(declared, "__metadata__", ())), None)
    plain = getattr(declared, "__origin__", declared)
    choices = [choice for part in (plain, *get_args(plain)) for choice in _choices(part)]
    return {"of": function.__name__ if function is not None else "", "choices": choices}


def _choices(part: Any) -> list[str]:
    if isinstance(part, EnumType):
        return [str(each.value) for each in list[Any](part)]
    return list(get_args(part)) if get_origin(part) is Literal else []


def _line(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
