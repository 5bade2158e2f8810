"""Reading what Terraform says and writes: its `-json` lines, plans, states. On recordings of Terraform 1.11."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bondstone.activities.terraform.artefact import TerraformHeader, pack, unpack
from bondstone.activities.terraform.changes import drifted_changes, is_empty, planned_changes
from bondstone.activities.terraform.checks import planned_checks, state_checks
from bondstone.activities.terraform.masking import document_secrets, mask, state_secrets
from bondstone.activities.terraform.state import parse_state
from bondstone.activities.terraform.stream import Transcript, diagnostics_in
from bondstone.activities.tooling.process import Tail
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.redact import MASK, Redactor

RECORDED = Path(__file__).parent / "recorded"
PLAN = json.loads((RECORDED / "terraform_plan.json").read_text())
STATE = (RECORDED / "terraform_state.json").read_bytes()
LINES = (RECORDED / "terraform_apply_failed.jsonl").read_text().splitlines()


def same(text: str) -> str:
    return text


def test_a_failed_apply_is_followed_line_by_line():
    transcript = Transcript()
    observed = [(transcript.read(line), transcript.progress.done) for line in LINES]
    assert transcript.tool == "terraform 1.11.4"
    assert observed[1][0] == "terraform_data.first: Plan to update"
    assert (transcript.progress.done, transcript.progress.total) == (1, 2), "half a replacement is not done"
    (error,) = transcript.errors
    assert (error.summary, error.address) == ("local-exec provisioner error", "terraform_data.second")
    assert (error.file, error.line, error.column) == ("main.tf", 12, 30)
    assert "exit status 7" in observed[-1][0]


@pytest.mark.parametrize(
    "line", ["", "plain words", "[1, 2]", "null", '{"type": "diagnostic"}', '{"type": 3}', "{"]
)
def test_lines_that_are_not_as_expected_do_no_harm(line):
    assert isinstance(Transcript().read(line), str)


def test_opentofu_is_called_by_its_name():
    transcript = Transcript()
    transcript.read('{"type": "version", "tofu": "1.12.6", "ui": "1.2"}')
    assert transcript.tool == "opentofu 1.12.6"


def test_errors_written_for_people_are_taken_apart():
    text = """
Error: Unreadable module directory

Unable to evaluate directory symlink: lstat not: no such file or directory

Error: Failed to query available provider packages

  on main.tf line 3, in terraform:
   3:     nope = { source = "nobody/nope" }

Could not retrieve the list of available versions
for provider nobody/nope
"""
    first, second = diagnostics_in(text)
    assert first.summary == "Unreadable module directory"
    assert (second.file, second.line) == ("main.tf", 3)
    assert second.detail == "Could not retrieve the list of available versions for provider nobody/nope"


def test_words_without_an_error_hold_none():
    assert diagnostics_in("") == []
    assert diagnostics_in("There are some problems with the CLI configuration") == []


def test_a_plan_becomes_a_change_set():
    update, replace = planned_changes(PLAN, same)
    assert (update.address, update.action, update.type) == ("terraform_data.first", "update", "terraform_data")
    assert update.before["input"] == {"password": MASK, "size": "small"}
    assert update.after["input"] == {"password": MASK, "size": "fail"}
    assert update.unknown == ("output",)
    assert (replace.address, replace.action) == ("terraform_data.second", "replace")
    assert not is_empty(PLAN)


def test_no_secret_of_a_plan_survives_in_its_change_set():
    secrets = document_secrets(PLAN)
    assert secrets == {"hushhush", "hushhush2"}
    shown = json.dumps([change.model_dump() for change in planned_changes(PLAN, Redactor(secrets))])
    assert "hushhush" not in shown


def test_the_secrets_of_a_state_are_found_by_output_and_by_attribute():
    content = parse_state(STATE).content
    assert state_secrets(content) == {"hushhush2"}
    assert state_secrets({**content, "outputs": {}}) == {"hushhush2"}


def change(*actions, **more):
    return {"address": "a.b", "mode": "managed", "type": "a", "change": {"actions": list(actions), **more}}


@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        (["create"], "create"),
        (["update"], "update"),
        (["delete"], "delete"),
        (["delete", "create"], "replace"),
        (["create", "delete"], "replace"),
        (["forget"], "forget"),
        (["no-op"], None),
        (["read"], None),
    ],
)
def test_actions_are_normalised(actions, expected):
    result = planned_changes({"resource_changes": [change(*actions)]}, same)
    assert [one.action for one in result] == ([expected] if expected else [])


def test_empty_means_that_nothing_at_all_would_change():
    quiet = {"resource_changes": [change("no-op")], "output_changes": {"x": {"actions": ["no-op"]}}}
    assert is_empty(quiet)
    assert is_empty({})
    assert not is_empty({**quiet, "output_changes": {"x": {"actions": ["update"]}}})
    assert not is_empty({"resource_changes": [change("create")]})
    assert not is_empty({"resource_changes": [{**change("no-op"), "previous_address": "a.c"}]}), (
        "moved in the state"
    )
    assert not is_empty({"resource_changes": [change("no-op", importing={"id": "x"})]})


def test_drift_is_masked_too():
    document = {
        "resource_drift": [
            change(
                "update",
                before={"p": "old"},
                after={"p": "new"},
                before_sensitive={"p": True},
                after_sensitive=True,
            )
        ]
    }
    (result,) = drifted_changes(document, same)
    assert (result.before, result.after) == ({"p": MASK}, {"p": MASK})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(json_values, json_values)
def test_masking_keeps_the_shape_and_shows_nothing_marked(value, marks):
    masked = mask(value, marks, same)
    if marks is True:
        assert masked == MASK
    elif isinstance(value, dict):
        assert masked.keys() == value.keys()
    elif isinstance(value, list):
        assert len(masked) == len(value)
    else:
        assert masked == value


@given(st.lists(st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b" ")), max_size=8), st.data())
def test_lines_are_the_same_however_the_file_grows(lines, data):
    content = b"\n".join(lines)
    file = io.BytesIO()
    recorded: list[str] = []
    tail = Tail(file, recorded.append)
    rest = content
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        position = file.tell()
        file.seek(0, io.SEEK_END)
        file.write(rest[:cut])
        file.seek(position)
        rest = rest[cut:]
        tail.read()
    tail.read(last=True)
    assert recorded == [line.decode("utf-8", "replace") for line in lines if line.strip()]


def test_half_a_state_file_is_no_state():
    whole = parse_state(STATE)
    assert whole.serial > 0
    for cut in range(0, len(STATE) - 2, 97):
        assert parse_state(STATE[:cut]) is None
    assert parse_state(None) is None
    assert parse_state(b"[]") is None
    assert parse_state(b'{"serial": 1}') is None


def state(serial: int, lineage: str = "one", resources: tuple = ()):
    return parse_state(json.dumps({"serial": serial, "lineage": lineage, "resources": resources}).encode())


def test_a_state_follows_only_an_older_one_of_its_own_life():
    assert state(2).follows(state(1))
    assert state(1).follows(None)
    assert not state(1).follows(state(1))
    assert not state(1).follows(state(2))
    assert not state(2).follows(state(1, lineage="two"))


def test_a_state_that_holds_only_data_has_nothing_to_destroy():
    assert state(1, resources=({"mode": "data"},)).is_bare
    assert not state(1, resources=({"mode": "managed"},)).is_bare


def test_an_artefact_comes_apart_as_it_was_packed():
    header = TerraformHeader(empty=False, destroy=True, secrets=("hush",))
    assert unpack(pack(header, b"PK\n\x00\n")) == (header, b"PK\n\x00\n")


@pytest.mark.parametrize("artefact", [b"", b"PK\x03\x04", b"bondstone-terraform-plan 1 {}\n", b"\n\n"])
def test_an_artefact_of_somebody_else_is_refused(artefact):
    with pytest.raises(ObjectCorrupt):
        unpack(artefact)


def test_what_moves_or_comes_in_is_a_change_of_its_own():
    moved = {**change("no-op"), "previous_address": "a.old"}
    besides = {**change("update"), "previous_address": "a.old"}
    document = {"resource_changes": [moved, besides, change("no-op", importing={"id": "vpc-1"})]}
    result = [(one.action, one.moved_from, one.import_id) for one in planned_changes(document, same)]
    assert result == [("move", "a.old", ""), ("update", "a.old", ""), ("import", "", "vpc-1")]
    assert not is_empty(document)
    assert drifted_changes({"resource_drift": [moved]}, same) == [], "reality is as it was"
    identity = {"resource_changes": [change("no-op", importing={"identity": {"zone": "a", "name": "b"}})]}
    assert planned_changes(identity, same)[0].import_id == '{"name":"b","zone":"a"}'


def test_failed_checks_are_read_from_plans_and_states_and_are_bounded():
    def plan(status, *messages):
        instance = {
            "address": {"to_display": "check.c"},
            "status": status,
            "problems": [{"message": m} for m in messages],
        }
        return {"checks": [{"status": status, "instances": [instance]}]}

    assert planned_checks(plan("pass"), same) == ()
    assert planned_checks(plan("unknown"), same) == ()
    assert planned_checks(plan("fail", "no  endpoint\nanswers"), same) == ("check.c: no endpoint answers",)
    assert planned_checks(plan("error"), same) == ("check.c: it could not be evaluated",)
    assert planned_checks(plan("fail", "hushhush is weak"), Redactor({"hushhush"})) == (
        f"check.c: {MASK} is weak",
    )
    many = planned_checks(plan("fail", *["x" * 9000] * 50), same)
    assert len(many) == 21
    assert many[-1] == "and 30 more"
    assert len("".join(many)) < 8000
    kept = {
        "check_results": [{"objects": [{"object_addr": "check.c", "status": "fail", "failure_messages": ["no"]}]}]
    }
    assert state_checks(kept, same) == ("check.c: no",)
    assert state_checks({"check_results": None}, same) == ()


def test_what_terraform_does_without_a_word_is_not_waited_for():
    transcript = Transcript()
    for action in ("remove", "move", "import", "noop", "read", "update"):
        message = {"type": "planned_change", "change": {"action": action, "resource": {"addr": f"a.{action}"}}}
        transcript.read(json.dumps(message))
    assert (transcript.progress.done, transcript.progress.total) == (0, 1)
    transcript.read(json.dumps({"type": "apply_complete", "hook": {"resource": {"addr": "a.update"}}}))
    assert (transcript.progress.done, transcript.progress.total) == (1, 1)


def test_a_secret_number_and_a_secret_key_are_masked_where_nothing_marks_them() -> None:
    redact = Redactor(["152930100255564", "key-of-secret"])
    shown = mask({"number": 152930100255564, "port": 80, "on": True, "key-of-secret": None}, None, redact)
    assert shown == {"number": "(secret)", "port": 80, "on": True, "(secret)": None}
