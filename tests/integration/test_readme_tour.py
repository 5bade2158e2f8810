"""The README's tour works exactly as typed, and prints what stands below each command."""

from pathlib import Path

import pytest

from harness.readme_tour import README, Step, run, stable, tour

pytestmark = pytest.mark.integration

STEPS = tour(README.read_text())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory):
    home: Path = tmp_path_factory.mktemp("home")
    try:
        yield run(STEPS, home)
    finally:
        run([Step("bond down", "")], home)


def test_the_tour_is_a_tour():
    assert len(STEPS) > 10
    assert {word for step in STEPS for word in step.command.split()} >= {
        "up",
        "publish",
        "request",
        "approve",
        "down",
    }


@pytest.mark.parametrize("number", range(len(STEPS)), ids=lambda number: STEPS[number].command[:60])
def test_each_command_prints_what_the_readme_says(ran, number):
    assert stable(ran[number].printed) == stable(STEPS[number].printed)
