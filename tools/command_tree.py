"""The table of commands that completion reads: verbs, options, and what each may be followed by."""

from __future__ import annotations

import json
from typing import Any

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
    return {
        "help": help_text,
        "options": [
            {
                "names": [*param.opts, *param.secondary_opts],
                "help": _line(param.help),
                "value": not (param.is_flag or param.count),
                **_values(param),
            }
            for param in params
            if param.param_type_name == "option"
        ],
        "arguments": [{"many": param.nargs == -1, **_values(param)} for param in arguments],
        "commands": {name: _node(each, _line(each.short_help or each.help)) for name, each in below},
    }


def _values(param: Any) -> dict[str, Any]:
    """What a parameter names, by `completion.NAMES`, and the values that it is one of."""
    kind = param.type_descriptor
    function = kind.parameter_info.autocompletion
    choices = [str(getattr(choice, "value", choice)) for choice in kind.choices or ()]
    return {"of": function.__name__ if function is not None else "", "choices": choices}


def _line(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())
