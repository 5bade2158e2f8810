"""The Ansible executor without Ansible: events, change sets, private files, and what is checked at publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bondstone.activities.ansible.changes import drifted_changes, expected, planned_changes, unexpected
from bondstone.activities.ansible.documents import (
    AnsiblePlan,
    PlaybookRecord,
    read_plan,
    read_record,
    record_hosts,
)
from bondstone.activities.ansible.events import PlaybookTranscript, Result, failure_words
from bondstone.activities.ansible.inspect import report
from bondstone.activities.ansible.section import AnsibleSection
from bondstone.activities.ansible.session import _as_yaml
from bondstone.base.errors import ObjectCorrupt
from bondstone.base.redact import Redactor


def result(task: str = "Write it", host: str = "web", **fields: Any) -> Result:
    return Result.model_validate(
        {
            "host": host,
            "task": task,
            "module": "ansible.builtin.copy",
            "status": "changed",
            "checking": True,
            **fields,
        }
    )


def diff(before: Any, after: Any, name: str = "/etc/thing", digest: str = "d") -> dict[str, Any]:
    return {"diff": [{"name": name, "before": before, "after": after, "digest": digest}]}


@pytest.mark.parametrize(
    ("before", "after", "action"),
    [
        ("", "text", "create"),
        ("old", "new", "update"),
        ("old", "", "delete"),
        ({"path": "/x", "state": "absent"}, {"path": "/x", "state": "directory"}, "create"),
        ({"path": "/x", "state": "file"}, {"path": "/x", "state": "absent"}, "delete"),
        ({"path": "/x", "mode": "0644"}, {"path": "/x", "mode": "0600"}, "update"),
    ],
)
def test_a_change_is_called_what_the_module_says_of_it(before, after, action):
    [change] = planned_changes([result(**diff(before, after))], Redactor())
    assert (change.address, change.action) == ("web/Write it", action)
    [drifted] = drifted_changes([result(**diff(before, after))], Redactor())
    assert drifted.action == {"create": "delete", "delete": "create"}.get(action, action)
    assert (drifted.before, drifted.after) == (change.after, change.before)


def test_only_what_changes_or_cannot_be_predicted_is_in_the_plan():
    results = [
        result("a", status="ok"),
        result("b", status="skipped"),
        result("c", status="skipped", unpredicted=True),
        result("d", background=True),
        result("e", hidden=True),
        result("f"),
        result("f"),
    ]
    changes = planned_changes(results, Redactor())
    assert [(item.address, item.unknown) for item in changes] == [
        ("web/c", ("effect",)),
        ("web/d", ("effect",)),
        ("web/e", ()),
        ("web/f", ()),
        ("web/f#2", ()),
    ]
    assert changes[2].after == {"effect": "hidden by the task's no_log"}
    assert [item.address for item in drifted_changes(results, Redactor())] == ["web/e", "web/f", "web/f#2"]


def test_secrets_are_masked_in_change_sets():
    [change] = planned_changes([result(**diff("key=topsecret", "key=topsecret2"))], Redactor(["topsecret"]))
    assert "topsecret" not in json.dumps(change.model_dump())


def test_what_was_not_planned_is_named_and_what_is_done_already_is_not():
    planned = expected(planned_changes([result("a", **diff("", "x")), result("b", **diff("x", "y"))], Redactor()))
    same = planned_changes([result("b", **diff("x", "y"))], Redactor())
    assert unexpected(planned, same) == []
    now = planned_changes(
        [result("a", **diff("other", "x")), result("b", **diff("x", "z", digest="e")), result("c")], Redactor()
    )
    assert unexpected(planned, now) == [
        "web/a: update instead of create",
        "web/b: to something else than was planned",
        "web/c would change too",
    ]


def test_a_transcript_keeps_what_matters_and_survives_what_is_no_event():
    transcript = PlaybookTranscript()
    assert transcript.read("Traceback: boom") == "Traceback: boom"
    assert transcript.read(json.dumps({"event": "new in some later version"})) is None
    assert transcript.read(json.dumps({"event": "result", "host": "web"})) is None
    for host, status in (("web", "ok"), ("db", "failed"), ("mail", "unreachable")):
        event = {"event": "result", "host": host, "task": "t", "status": status, "message": f"{host}\nsaid"}
        transcript.read(json.dumps(event))
    ignored = {"event": "result", "host": "x", "task": "t", "status": "failed", "ignored": True}
    transcript.read(json.dumps(ignored))
    transcript.read(json.dumps({"event": "stats", "hosts": {"web": {"ok": 1}}, "statistics": {"a": 1}}))
    assert (transcript.names, transcript.statistics, transcript.ended) == (("web",), {"a": 1}, True)
    words = failure_words(transcript.failures)
    assert "host mail cannot be reached: mail said" in words
    assert "db/t (, ): db said" in words
    assert "x/t" not in words


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_private_files_say_exactly_what_they_were_given_and_mark_each_text(value):
    texts: list[str] = []

    class Loader(yaml.SafeLoader):
        pass

    def unsafe(loader: Any, node: Any) -> str:
        texts.append(node.value)
        return node.value

    Loader.add_constructor("!unsafe", unsafe)
    assert yaml.load(_as_yaml(value), Loader=Loader) == value  # noqa: S506 - a safe loader with one more tag
    assert sorted(texts) == sorted(_texts(value))


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for item in value.values() for text in _texts(item)]
        case list():
            return [text for item in value for text in _texts(item)]
    return []


def test_records_and_plans_of_others_are_refused():
    record = PlaybookRecord(hosts=("web",))
    assert read_record(record.pack()) == record
    assert record_hosts(record.pack()) == ("web",)
    assert record_hosts(b'{"hosts": ["web"]}') is None
    for data in (b"", b"{}", b'{"format": "bondstone-kubernetes 1"}'):
        with pytest.raises(ObjectCorrupt):
            read_plan(data)
        with pytest.raises(ObjectCorrupt):
            read_record(data)
    assert read_plan(AnsiblePlan(playbook="site.yml").pack()).playbook == "site.yml"


def words(tmp_path: Path, playbook: str, **section: Any) -> list[str]:
    (tmp_path / "site.yml").write_text(playbook)
    result = report(
        AnsibleSection.model_validate({"playbook": "site.yml", "inventory": {"all": {}}, **section}), tmp_path
    )
    return [f"{item.file}:{item.line}: {item.message}" for item in result.problems] + [
        f"{'.'.join(map(str, path))}: {problem.message}" for path, problem in result.keys
    ]


def test_mistakes_are_named_when_a_promise_is_published(tmp_path: Path):
    good = "- hosts: all\n  vars: {key: !vault text}\n  tasks:\n    - command: id\n      check_mode: false\n      changed_when: false\n"  # noqa: E501
    assert words(tmp_path, good) == []
    assert words(tmp_path, "hosts: all\n") == ["site.yml:1: a playbook is a list of plays"]
    assert words(tmp_path, "- tasks: []\n") == ["site.yml:1: the play names no `hosts`"]
    asking = "- hosts: all\n  vars_prompt: [{name: key}]\n"
    assert words(tmp_path, asking) == ["site.yml:2: nobody can answer `vars_prompt` on a worker"]
    early = "- hosts: all\n  tasks:\n    - block:\n        - command: reboot\n          check_mode: false\n"
    [text] = words(tmp_path, early)
    assert text.startswith("site.yml:5: with `check_mode: false` this task runs during the plan")
    assert words(tmp_path, early, check="skip") == []
    assert words(tmp_path, good, destroy="site.yaml") == ["destroy: the promise has no file 'site.yaml'"]
    assert words(tmp_path, good, inventory={}) == ["inventory: the inventory names no host"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/site.yml"])
def test_no_file_outside_the_promise_is_named(name):
    for key in ("playbook", "destroy", "inventory"):
        with pytest.raises(ValueError, match="not a file of the promise"):
            AnsibleSection.model_validate({"playbook": "site.yml", "inventory": "hosts.yml", key: name})
