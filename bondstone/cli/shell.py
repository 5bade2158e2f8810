"""What a shell is offered at the end of a line: found without parsing the line, which costs a quarter of a second.

typer checks values with pydantic. A completion needs no values: it needs to know which command the line has come
to, and whether its last word is a verb, an option, the value of an option, or an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer._click.shell_completion import get_completion_class
from typer._completion_classes import completion_init


def complete(root: Any, instruction: str) -> str | None:
    """What to print for a shell's question, in the form of that shell.

    Args:
        root: The command `bond`.
        instruction: As in `complete_bash`; what it asks about is in the environment.

    Returns:
        None for other instructions, and for shells that typer does not know: typer answers those.
    """
    completion_init()  # makes typer's shells known
    asks, _, shell = instruction.partition("_")
    known = get_completion_class(shell) if asks == "complete" else None
    if known is None:
        return None
    unparsed = type("Unparsed", (_Unparsed, known), {})
    text: str = unparsed(root, {}, "bond", "_BOND_COMPLETE").complete()
    return text


class _Unparsed:
    """Offers words for a line that is not parsed: before typer's class for a shell, in whose place it answers."""

    cli: Any

    def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
        """What may stand in the place of the last word."""
        context = _context(self.cli, "bond", None)
        positional = 0
        option: Any = None
        for word in args:
            if option is not None:
                if context.parent is None:
                    context.params[option.name] = word
                option = None
            elif word.startswith("-"):
                option = None if "=" in word else _valued(context, word)
            elif (below := _command(context, word)) is not None:
                context, positional = _context(below, word, context), 0
            else:
                positional += 1
        if option is not None:
            return _offered(option, context, incomplete)
        if incomplete.startswith("-") and "=" in incomplete:
            name, _, value = incomplete.partition("=")
            named = _valued(context, name)
            return _offered(named, context, value) if named is not None else []
        if incomplete.startswith("-") or getattr(context.command, "commands", None):
            return _offered(context.command, context, incomplete)
        arguments = [each for each in context.command.params if each.param_type_name == "argument"]
        if not arguments:
            return []
        many = arguments[-1].nargs == -1
        at = min(positional, len(arguments) - 1) if many else positional
        return _offered(arguments[at], context, incomplete) if at < len(arguments) else []


def _context(command: Any, name: str, parent: Any) -> Any:
    """Where the line has come to: a context that was not parsed."""
    real = command.loaded() if hasattr(command, "loaded") else command
    return real.context_class(real, info_name=name, parent=parent, resilient_parsing=True)


def _command(context: Any, word: str) -> Any:
    commands: dict[str, Any] = getattr(context.command, "commands", {})
    return commands.get(word)


def _valued(context: Any, word: str) -> Any:
    """The option of that name, when it takes a value."""
    while context is not None:
        for param in context.command.params:
            names: Sequence[str] = (*param.opts, *param.secondary_opts)
            if param.param_type_name == "option" and word in names:
                return None if param.is_flag or param.count else param
        context = context.parent  # options of the root stand anywhere
    return None


def _offered(offering: Any, context: Any, incomplete: str) -> list[Any]:
    found: list[Any] = offering.shell_complete(context, incomplete)
    return found
