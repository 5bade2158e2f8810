"""Enter in a field presses the first button of its form: it never chooses among verbs."""

import re
from pathlib import Path

import pytest

import bondstone.console
from bondstone.console.rendering import environment

TEMPLATES = sorted((Path(bondstone.console.__file__).parent / "templates").glob("*.html"))
FIELD = re.compile(r"<input(?![^>]*type=\"(?:hidden|checkbox|file)\")|\{\{ text\(")
VERB = re.compile(r'<button[^>]* name="(?:verb|vote)"')


def test_the_first_button_of_a_form_with_several_verbs_does_nothing():
    html = environment().from_string('{% from "macros.html" import no_default %}{{ no_default() }}').render()
    assert " disabled " in html


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_form_with_fields_and_several_verbs_has_no_default(path):
    for form in re.findall(r"<form.*?</form>", path.read_text(), re.DOTALL):
        if FIELD.search(form) and VERB.search(form):
            assert "no_default()" in form.partition("<button")[0]
