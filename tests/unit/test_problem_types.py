"""The `type` of a problem is a URI of its code, which the page of the error codes has an anchor for."""

import json
import re
from pathlib import Path

import pytest

from bondstone.api.problems import TYPES, ProblemDocument
from bondstone.base.errors import BY_CODE

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.parametrize("code", BY_CODE)
def test_the_type_of_a_problem_names_its_code_and_the_docs_have_an_anchor_of_it(code):
    problem = ProblemDocument.of(BY_CODE[code]("no"))
    assert problem.type == f"{TYPES}{code}"
    assert f'<a id="{code}"></a>' in (DOCS / "errors.md").read_text(encoding="utf-8")


def test_openapi_describes_the_type():
    schema = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))["components"]["schemas"]
    described = schema["ProblemDocument"]
    assert "type" in described["required"]
    assert re.search(described["properties"]["type"]["pattern"], f"{TYPES}NOT_FOUND")
    assert not re.search(described["properties"]["type"]["pattern"], "about:blank")
