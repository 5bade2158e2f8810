"""Help as people read it: it fits 80 columns, `-h` is help, and each group names all of its verbs."""

import re

import pytest

from bondstone.cli.app import COMMANDS, build, main

WIDTH = 80


def groups() -> dict[str, set[str]]:
    root = build()
    context = root.make_context("bond", [], resilient_parsing=True)
    collected = {}
    for name in COMMANDS:
        lazy = root.get_command(context, name)
        command = lazy.make_context(name, [], parent=context, resilient_parsing=True).command
        if verbs := getattr(command, "commands", {}):
            collected[name] = dict.fromkeys(verbs).keys()
    return collected


GROUPS = groups()


@pytest.mark.parametrize("name", GROUPS)
def test_the_list_of_commands_names_every_verb_of_a_group(name):
    summary = " ".join(COMMANDS[name][1].split())
    if name == "config":
        return  # one verb, and the summary says what it is about
    assert set(summary.rpartition(": ")[2].split(", ")) == GROUPS[name]


@pytest.mark.parametrize(
    "path", ["", *COMMANDS, *(f"{group} {verb}" for group, verbs in GROUPS.items() for verb in verbs)]
)
def test_help_fits_80_columns_and_is_also_minus_h(capsys, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    assert main([*path.split(), "-h"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Usage: bond")
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []
    assert not re.search(r"[\w]-\n +[a-z]", text), "a word is broken at its hyphen"
    below = text.partition("\n\n")[2]
    assert not re.search(r"\.\.\.$", below, flags=re.MULTILINE), "a sentence is cut off"
