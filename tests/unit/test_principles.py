"""docs/principles.md has the rules that tests are named after."""

import re
from pathlib import Path

import bondstone

ROOT = Path(bondstone.__file__).parents[1]
PAGE = (ROOT / "docs" / "principles.md").read_text(encoding="utf-8")


def test_each_rule_on_the_page_has_tests_and_each_named_test_has_its_rule():
    rules = re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)
    assert rules == [str(number) for number in range(1, 11)]
    named = {
        number
        for file in (ROOT / "tests").rglob("test_*.py")
        for number in re.findall(r"def test_rule_(\d+)_", file.read_text(encoding="utf-8"))
    }
    assert named == set(rules)


def test_the_files_it_names_are_there():
    for name in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / name).exists(), name
