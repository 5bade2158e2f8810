"""Every address as every role: what the docs say is what a running API answers."""

from __future__ import annotations

import pytest

from harness import access_matrix

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def test_the_table_in_the_docs_is_what_the_api_answers(tmp_path):
    answers = access_matrix.observed(tmp_path)
    assert len(answers) > 90
    reached = {address for address, answers in answers.items() if answers[access_matrix.NOBODY]}
    assert reached == {"GET /providers"}, "nothing else is open to whoever brings no credential"
    assert access_matrix.page(answers) == access_matrix.PAGE.read_text(encoding="utf-8"), (
        "the table is stale: python -m harness.access_matrix"
    )
