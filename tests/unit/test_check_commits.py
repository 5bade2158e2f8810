"""The subjects of commits."""

import pytest

from tools import check_commits


@pytest.mark.parametrize(
    "subject",
    [
        "store: spell each key once",
        "tools, ci: embed the schema",
        "Merge branch 'x'",
        "api/events: close the stream",
    ],
)
def test_a_subject_that_says_where_and_what_to_do_passes(subject):
    assert check_commits.wrong(subject) == ""


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("store: " + "x" * 66, "73 columns"),
        ("Spell each key once", "area: imperative"),
        ("Store: spell each key once", "area: imperative"),
        ("store: spell each key once.", "full stop"),
        ("store: spelled each key once", "'spelled'"),
        ("store: spelling each key once", "'spelling'"),
    ],
)
def test_what_is_wrong_with_a_subject_is_said(subject, words):
    assert words in check_commits.wrong(subject)


def test_a_hook_gets_the_file_with_the_message(tmp_path):
    message = tmp_path / "COMMIT_EDITMSG"
    message.write_text("no area\n\nwhy: because.\n")
    assert check_commits.main([str(message)]) == 1
    message.write_text("area: do it\n\nThe reason.\n")
    assert check_commits.main([str(message)]) == 0
