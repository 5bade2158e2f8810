"""What `ansible-playbook` is started with: the promise's `ansible.cfg` wins, except over what keeps a promise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from bondstone.activities.ansible.configuration import Mode, RunPlaces, environment, read
from bondstone.activities.ansible.documents import AnsiblePlan
from bondstone.activities.ansible.session import is_connection

THEIRS = """
[defaults]
interpreter_python = /opt/python
collections_path = ours
deprecation_warnings = true ; they want to see them
host_key_checking = false
stdout_callback = yaml
no_target_syslog = false

[ssh_connection]
pipelining = false
ssh_args = -o ControlMaster=no -o StrictHostKeyChecking=no -J bastion
ssh_common_args = -o Compression=no
"""


@pytest.fixture
def places(tmp_path: Path) -> RunPlaces:
    (tmp_path / "bundle").mkdir()
    return RunPlaces(
        run=tmp_path, directory=tmp_path / "1", sockets=tmp_path / "sockets", bundle=tmp_path / "bundle"
    )


def variables(places: RunPlaces, mode: Mode = "check", cfg: str | None = None, **plan: Any) -> dict[str, str]:
    if cfg is not None:
        (places.bundle / "ansible.cfg").write_text(cfg)
    return environment(AnsiblePlan(playbook="site.yml", **plan), mode, places)


def test_a_setting_of_the_promise_wins_over_a_default(places: RunPlaces):
    ours = variables(places, inventory={"all": {}})
    defaults = {
        "ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_DEPRECATION_WARNINGS", "ANSIBLE_PIPELINING",
        "ANSIBLE_PYTHON_INTERPRETER",
    }  # fmt: skip
    assert defaults <= ours.keys()
    theirs = variables(places, cfg=THEIRS)
    assert not defaults & theirs.keys(), "a variable would win over the file"
    assert theirs["ANSIBLE_CONFIG"] == str(places.bundle / "ansible.cfg")
    assert theirs["ANSIBLE_SSH_ARGS"].endswith("-o ControlMaster=no -o StrictHostKeyChecking=no -J bastion")
    assert "ANSIBLE_SSH_COMMON_ARGS" not in theirs
    for section in ("defaults", "connection", "ssh_connection"):
        assert "ANSIBLE_PIPELINING" not in variables(places, cfg=f"[{section}]\npipelining = 0\n")


def test_no_setting_of_the_promise_wins_over_what_the_executor_promises(places: RunPlaces):
    theirs = variables(places, cfg=THEIRS, known_hosts="k", private_key="p")
    ours = f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={places.directory / 'known_hosts'}"
    assert theirs["ANSIBLE_SSH_ARGS"].startswith(f"{ours} -o IdentitiesOnly=yes "), "ssh takes the first value"
    assert theirs["ANSIBLE_HOST_KEY_CHECKING"] == theirs["ANSIBLE_NO_TARGET_SYSLOG"] == "1"
    assert theirs["ANSIBLE_STDOUT_CALLBACK"] == "bondstone_events"


def test_only_check_mode_does_without_a_terminal_on_the_host(places: RunPlaces):
    assert "ANSIBLE_PIPELINING" not in variables(places, "apply"), "a cancel could not end the command there"
    assert variables(places)["ANSIBLE_PIPELINING"] == "1"


def test_an_inventory_that_is_a_file_may_be_of_every_kind(places: RunPlaces):
    assert "ANSIBLE_INVENTORY_ENABLED" not in variables(places, inventory="hosts.ini")
    assert variables(places, inventory={"all": {}})["ANSIBLE_INVENTORY_ENABLED"] == "yaml"


@pytest.mark.parametrize("text", ["no section", "[a]\nb", "[a]\nb=1\n[a]\nb=2\n", "\x00"])
def test_a_file_that_ansible_will_refuse_counts_as_none(tmp_path: Path, text: str):
    (tmp_path / "ansible.cfg").write_text(text)
    assert read(tmp_path / "ansible.cfg") == {}
    (tmp_path / "ansible.cfg").write_bytes(b"[a]\nb=\xff\n")
    assert read(tmp_path / "ansible.cfg") == {}


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["ssh: /tmp/bond-ssh-1/0a1b [mux]"], True),
        (["ssh: /tmp/bond-ssh-1/0a1b [mux]", ""], True),
        (["ssh: /tmp/bond-ssh-12/0a1b [mux]"], False),
        (["ssh: /root/.ansible/cp/0a1b [mux]"], False),
        (["ssh", "-o", "ControlPath=/tmp/bond-ssh-1/0a1b", "web"], False),
        (["python", "ssh: /tmp/bond-ssh-1/0a1b [mux]"], False),
        ([], False),
    ],
)
def test_only_a_connection_of_this_attempt_is_kept_for_its_next_run(command, kept):
    class Process(psutil.Process):
        def cmdline(self) -> list[str]:
            return command

    assert is_connection(Process(), Path("/tmp/bond-ssh-1")) is kept
