"""What a shell is offered at the end of a line: within a keystroke, so with the standard library alone.

Importing typer and the commands costs a quarter of a second. A completion needs to know which command the line has
come to, and whether its last word is a verb, an option, the value of an option, or an argument: all of that stands
in `command_tree.json`, which `python -m tools.generate` writes from the commands.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bondstone.cli import completion, context

TREE: Final = Path(__file__).with_name("command_tree.json")

_BETWEEN: Final = {"bash": "", "zsh": ":", "fish": "\t", "powershell": ":::", "pwsh": ":::"}
"""What stands between a word and its meaning; bash shows no meanings."""
_BREAKS: Final = "=:@"
"""What bash takes words apart at, of what stands in ours."""
_ALONE: Final = {"fish": "", "powershell": "::: ", "pwsh": "::: "}
"""What stands behind a word that has no meaning."""

Node = dict[str, Any]
Offer = tuple[str, str]
"""A word, and what it means; empty where it explains itself."""


def complete(instruction: str) -> str | None:
    """What to print for a shell's question, in the form of that shell.

    Args:
        instruction: As in `complete_bash`; what it asks about is in the environment.

    Returns:
        None for other instructions, and for shells that typer does not know: typer answers those.

    Raises:
        SystemExit: fish asks by an exit status whether there is anything to offer.
    """
    asks, _, shell = instruction.partition("_")
    if asks != "complete" or shell not in _BETWEEN:
        return None
    before, incomplete = _line_of(shell)
    offers = list(offered(before, incomplete))
    if shell == "bash":
        offers = [(word[_kept(incomplete) :], meaning) for word, meaning in offers]
    if shell == "zsh":
        words = "\n".join(_zsh(offer) for offer in offers)
        return f"_arguments '*: :(({words}))'" if offers else "_files"
    if shell == "fish" and os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        raise SystemExit(not offers)
    return "\n".join(_written(offer, shell) for offer in offers)


def offered(before: Sequence[str], incomplete: str) -> Iterator[Offer]:
    """What may stand in the place of the last word.

    Args:
        before: The whole words of the line, without `bond`.
        incomplete: What stands of the last one.
    """
    at = _place(before)
    _choose(at.root)
    here = at.path[-1]
    if at.option is not None:
        yield from _values(at.option, incomplete)
    elif incomplete.startswith("-") and "=" in incomplete:
        name, _, value = incomplete.partition("=")
        if (option := _valued(at.path, name)) is not None:
            yield from _values(option, value)
    elif incomplete.startswith("-"):
        for each in here["options"]:
            yield from ((name, each["help"]) for name in each["names"] if name.startswith(incomplete))
    elif here["commands"]:
        below = here["commands"].items()
        yield from ((name, each["help"]) for name, each in below if name.startswith(incomplete))
    elif here["arguments"]:
        last = len(here["arguments"]) - 1
        if at.positional <= last or here["arguments"][last]["many"]:
            yield from _values(here["arguments"][min(at.positional, last)], incomplete)


@dataclass(slots=True)
class _Place:
    """Where a line has come to."""

    path: list[Node]
    """The commands, from the root."""
    positional: int = 0
    """How many arguments the last one has."""
    option: Node | None = None
    """The option whose value is next."""
    root: dict[str, str] = field(default_factory=dict)
    """Values of options."""


def _place(before: Sequence[str]) -> _Place:
    at = _Place([json.loads(TREE.read_text(encoding="utf-8"))])
    for word in before:
        if at.option is not None:
            at.root |= dict.fromkeys(at.option["names"], word)
            at.option = None
        elif word.startswith("-"):
            at.option = None if "=" in word else _valued(at.path, word)
        elif word in at.path[-1]["commands"]:
            at.path.append(at.path[-1]["commands"][word])
            at.positional = 0
        else:
            at.positional += 1
    return at


def _values(param: Node, incomplete: str) -> Iterator[Offer]:
    """What the value of an option, or an argument, may be."""
    if param["of"]:
        try:
            yield from ((name, "") for name in completion.NAMES[param["of"]](incomplete))
        except Exception:  # noqa: BLE001 - a shell wants names or nothing
            return
    yield from ((choice, "") for choice in param["choices"] if choice.startswith(incomplete))


def _valued(path: Sequence[Node], word: str) -> Node | None:
    """The option of that name, when it takes a value; options of the root stand anywhere."""
    for node in reversed(path):
        for option in node["options"]:
            if word in option["names"]:
                return option if option["value"] else None
    return None


def _choose(typed: dict[str, str]) -> None:
    """Choose the platform whose names are offered, as a command does."""
    try:
        data = typed.get("--data")
        context.choose(Path(data) if data else None, typed.get("--context", ""))
    except Exception:  # noqa: BLE001 - a shell wants names or nothing
        return


def _split(line: str) -> list[str]:
    """The words of a line whose last quote may still be open."""
    reader = shlex.shlex(line, posix=True)
    reader.whitespace_split, reader.commenters = True, ""
    words: list[str] = []
    try:
        words.extend(reader)
    except ValueError:  # no closing quote: the open word counts as it stands
        words.append(reader.token)
    return words


def _line_of(shell: str) -> tuple[list[str], str]:
    """The whole words of the line without `bond`, and what stands of the last one."""
    if shell == "bash":
        typed = os.environ.get("COMP_WORDS", "")
        parts = typed.split("\n") if "\n" in typed else _split(typed)
        return _glued(parts, int(os.environ.get("COMP_CWORD", "0")))
    line = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = _split(line)[1:]
    return (words[:-1], words[-1]) if words and not line.endswith(" ") else (words, "")


def _glued(words: Sequence[str], at: int) -> tuple[list[str], str]:
    """The line of bash, which takes words apart at each of `COMP_WORDBREAKS`: `retention=3d` comes as three."""
    glued: list[str] = []
    for index, word in enumerate([*words, ""][: at + 1]):
        breaks = bool(word) and not word.strip(_BREAKS)
        after = index > 0 and bool(words[index - 1]) and not words[index - 1].strip(_BREAKS)
        if glued and (breaks or after):
            glued[-1] += word
        else:
            glued.append(word)
    return glued[1:-1], glued[-1].lstrip("'\"")


def _kept(incomplete: str) -> int:
    """How many characters of a word bash leaves alone: it replaces what stands behind the last break."""
    if "\n" not in os.environ.get("COMP_WORDS", ""):
        return 0
    value = incomplete.partition("=")[2] if incomplete.startswith("-") else incomplete
    return max(value.rfind(each) for each in _BREAKS) + 1


def _written(offer: Offer, shell: str) -> str:
    word, meaning = offer
    between = _BETWEEN[shell]
    if not between:
        return word
    return f"{word}{between}{meaning}" if meaning else f"{word}{_ALONE[shell]}"


def _zsh(offer: Offer) -> str:
    word, meaning = (
        text.replace('"', '""').replace("'", "''").replace("$", "\\$").replace("`", "\\`").replace(":", "\\\\:")
        for text in offer
    )
    return f'"{word}":"{meaning}"' if meaning else f'"{word}"'
