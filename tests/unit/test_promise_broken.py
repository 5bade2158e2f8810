"""Broken promises of every kind: each is refused at its place, in words its author can act on.

Every message here was read as the author would read it; a change of words is a change worth a look.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from promise_samples import EXECUTORS, FakeTerraform, edited, write_promise
from ruamel.yaml import YAML

from bondstone.base.errors import PromiseInvalid
from bondstone.executors.protocol import SectionReport
from bondstone.promise.load import load_promise
from bondstone.promise.validation.before_publish import validate


@dataclass(frozen=True)
class Broken:
    kind: str
    edits: list[tuple[str, str]]
    says: list[str]
    files: Mapping[str, str] = field(default_factory=dict)


def _broken() -> list[Broken]:
    data = YAML(typ="safe").load(Path(__file__).with_name("broken_promises.yaml"))
    return [
        Broken(
            kind,
            [(change["from"], change["to"]) for change in case.get("change", [])],
            case["says"].splitlines(),
            case.get("files", {}),
        )
        for kind, case in data.items()
    ]


@pytest.mark.parametrize("broken", _broken(), ids=lambda broken: broken.kind.replace(" ", "-"))
def test_a_broken_promise_is_refused_at_its_place_in_words(broken: Broken, tmp_path: Path) -> None:
    write_promise(tmp_path, edited(*broken.edits), broken.files)
    problems = validate(tmp_path, EXECUTORS)
    assert [str(problem) for problem in problems.problems] == broken.says
    with pytest.raises(PromiseInvalid) as caught:
        problems.require()
    assert caught.value.code == "PROMISE_INVALID"
    assert caught.value.problems == problems.problems


def test_the_sample_itself_is_fine(tmp_path: Path) -> None:
    problems = validate(write_promise(tmp_path), EXECUTORS)
    assert (problems.problems, problems.warnings) == ((), ())
    assert problems.require().name == "postgres"


def test_one_mistake_does_not_hide_the_others(tmp_path: Path) -> None:
    text = edited(
        ("owner: data-platform", "onwer: data-platform"),
        ("default: small}", "default: tiny}"),
        ("timeout: 30m", "timeout: soon"),
        ("inputs.size != 'small'", "inputs.sizze != 'small'"),
        ("[policies/]", "[polices/]"),
        ("roles: [dba], ", ""),
    )
    problems = validate(write_promise(tmp_path, text), EXECUTORS)
    assert [(problem.line, problem.column) for problem in problems.problems] == [
        (7, 3),
        (15, 67),
        (33, 16),
        (36, 13),
        (39, 14),
        (41, 7),
    ]


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write_promise(tmp_path)
    (tmp_path / "chart" / "secrets").symlink_to("/etc/hostname")
    problem = validate(tmp_path, EXECUTORS).problems[0]
    assert str(problem) == "chart/secrets: the link leads out of the promise's folder"


def test_a_folder_without_manifest_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "promise.yml").write_text("x: 1")
    problem = validate(tmp_path, EXECUTORS).problems[0]
    assert (problem.message, problem.hint) == (
        "the folder has no promise.yaml",
        "there is promise.yml; name it promise.yaml",
    )


def test_an_executor_that_breaks_is_named_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    class Breaks(FakeTerraform):
        def check(self, _section: object, _promise: Path) -> SectionReport:
            raise RuntimeError("boom")

    text = edited(("inputs.size != 'small'", "inputs.sizze != 'small'"))
    problems = validate(write_promise(tmp_path, text), {**EXECUTORS, "terraform": Breaks()})
    assert [str(problem) for problem in problems.problems] == [
        (
            "promise.yaml:28:7: the executor 'terraform' failed to check the step: RuntimeError"
            " (this is a fault of the executor)"
        ),
        "promise.yaml:36:13: there is no `inputs.sizze` (did you mean `inputs.size`?)",
    ]


def test_executables_are_warned_about_because_bundles_keep_no_modes(tmp_path: Path) -> None:
    write_promise(tmp_path, files={"terraform/database/seed.sh": "true\n"})
    (tmp_path / "terraform/database/seed.sh").chmod(0o755)
    problems = validate(tmp_path, EXECUTORS)
    assert problems.problems == ()
    assert [warning.file for warning in problems.warnings] == ["terraform/database/seed.sh"]


def test_load_names_every_problem_of_shape(tmp_path: Path) -> None:
    write_promise(tmp_path, edited(("owner:", "onwer:"), ("30m", "soon")))
    with pytest.raises(PromiseInvalid, match=r"promise\.yaml is not valid: 2 problems"):
        load_promise(tmp_path)


def test_outputs_of_a_step_that_may_be_skipped_may_be_null(tmp_path: Path) -> None:
    edits = ('"${steps.database.outputs.endpoint}"}\n    pass', '"x-${steps.dashboard.outputs.status}"}\n    pass')
    problems = validate(write_promise(tmp_path, edited(edits)), EXECUTORS)
    assert [problem.message for problem in problems.problems] == [
        "`steps.dashboard.outputs.status` may be null, which cannot be joined into text"
    ]


def test_a_secret_may_go_to_a_step_and_to_a_secret_output(tmp_path: Path) -> None:
    text = edited(
        ('name: "${service.name}"', 'name: "${service.name}"\n          extra: "${inputs.adminPassword}"'),
        ("${steps.database.outputs.password}", "${inputs.adminPassword == null ? '' : inputs.adminPassword}"),
    )
    assert validate(write_promise(tmp_path, text), EXECUTORS).problems == ()
