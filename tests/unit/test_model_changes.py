"""A frozen model is changed by `changed`, which checks names and values, and by nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import bondstone
from bondstone.base.models import Wire
from bondstone.base.settings import Settings
from bondstone.model.service import ServiceId, ServiceState, StepStatus
from bondstone.model.step import Progress

ROOT = Path(bondstone.__file__).parents[1]
UNCHECKED = {"model_copy", "model_construct"}
ALLOWED = {
    "bondstone/base/models.py",  # what is checked, and what mypy is told
    "tools/reference/openapi.py",  # settings that depend on no environment
    "bondstone/campaign/transition.py",  # the draft of a turn, which refuses unknown names itself
}


class Sample(Wire):
    count: int = 0
    status: StepStatus = StepStatus.PENDING
    names: tuple[str, ...] = ()


def test_a_change_keeps_the_original_and_all_other_fields():
    before = Sample(count=1, names=("a",))
    after = before.changed(count=2)
    assert (before.count, after.count, after.names) == (1, 2, ("a",))


def test_a_field_that_the_model_does_not_have_is_refused():
    with pytest.raises(TypeError, match="Sample has no field 'cuont'"):
        Sample().changed(cuont=2)


@pytest.mark.parametrize("fields", [{"count": "many"}, {"status": "sleeping"}, {"names": "abc"}])
def test_a_value_that_does_not_fit_its_field_is_refused(fields):
    with pytest.raises(ValidationError):
        Sample().changed(**fields)


def test_values_become_what_the_field_declares():
    after = Sample().changed(status="failed", names=["a", "b"])
    assert (after.status, after.names) == (StepStatus.FAILED, ("a", "b"))


def test_nested_models_are_shared_and_not_built_again():
    service = ServiceId(team="shop", name="orders")
    assert ServiceState(service=ServiceId(team="a", name="b")).changed(service=service).service is service


def test_a_field_whose_type_is_declared_after_the_model_is_checked_too():
    code = (
        "from bondstone.model.campaign.run import CampaignInput\n"
        "from pydantic import TypeAdapter\n"
        "start = TypeAdapter(CampaignInput).validate_python({'requested_by': 'ada'})\n"  # as Temporal reads it
        "assert not CampaignInput.__pydantic_complete__\n"
        "assert start.changed(carried=None) == start"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_settings_are_changed_in_the_same_way(tmp_path):
    assert Settings(data=tmp_path).changed(log_level="debug").log_level == "debug"
    with pytest.raises(TypeError):
        Settings(data=tmp_path).changed(log_levle="debug")


def test_a_change_survives_the_wire():
    changed = Progress().changed(note="waiting")
    assert Progress.model_validate_json(changed.model_dump_json()) == changed


def unchecked_changes(source: str) -> list[int]:
    """Lines of a module that copy a model without checks."""
    if not any(name in source for name in UNCHECKED):  # most modules, which are not parsed for nothing
        return []
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and node.attr in UNCHECKED
    ]


def test_no_module_copies_a_model_without_checks():
    folders = ("bondstone", "workflows", "activities", "workers", "benchmarks", "harness", "tools", "tests")
    lines = [
        f"{name}:{line}"
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (name := path.relative_to(ROOT).as_posix()) not in ALLOWED
        for line in unchecked_changes(path.read_text(encoding="utf-8"))
    ]
    assert lines == []


def test_an_unchecked_copy_is_noticed():
    assert unchecked_changes("state = state.model_copy(update={'a': 1})") == [1]
