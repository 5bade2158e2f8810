"""The Ansible executor against real hosts: users of a real sshd, a real ansible-playbook."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from ansible_kit import Bench, inventory, shown

from bondstone.base.errors import PlanStale, ToolFailed
from harness.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # Ansible's start alone is a second of CPU

SECRET = "canary-of-a-playbook-5521"
SITE = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Configure the thing
      ansible.builtin.copy: {dest: ~/thing.conf, content: "colour={{ colour | default('blue') }}\\n", mode: "0600"}
    - name: Say the colour
      ansible.builtin.set_stats: {data: {colour: "{{ colour | default('blue') }}"}}
"""
TEARDOWN = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Remove the thing
      ansible.builtin.file: {path: ~/thing.conf, state: absent}
"""
WAITING = """
    - name: Wait for a word
      ansible.builtin.shell: while [ ! -e ~/word.txt ]; do sleep 0.1; done
      changed_when: false
      when: not ansible_check_mode
    - name: Be done
      ansible.builtin.copy: {dest: ~/done.txt, content: done}
"""
OUTPUTS = {"colour": {}}
# Each run of `ansible-playbook` takes more than a second of CPU: a test looks at all that its runs can show.


@pytest.fixture
async def bench(tmp_path: Path, hosts) -> Bench:
    made = await Bench.open(tmp_path, hosts)
    made.write(SITE)
    made.write(TEARDOWN, "teardown.yml")
    yield made
    for index in range(len(hosts.users)):
        for file in hosts.home(index).glob("*.*"):
            if not file.name.startswith("."):
                file.unlink()


async def test_a_host_is_set_up_changed_looked_after_and_taken_down(bench: Bench, tmp_path: Path):
    evil = "{{ lookup('pipe', 'touch " + str(tmp_path / "pwned") + '\') }}\nsecond "line" \u2028 \x07 é 😀'
    thing = bench.home() / "thing.conf"
    first = {"destroy": "teardown.yml", "outputs": OUTPUTS, "vars": {"colour": evil}}
    planned = await bench.plan(**first)
    assert shown(planned) == [("create", "web0/Configure the thing")]
    assert planned.tool.startswith("Ansible ")
    assert planned.changes[0].type == "ansible.builtin.copy"
    assert f"colour={evil}\n" in planned.changes[0].after.values()
    assert not thing.exists()
    logins = bench.hosts.logins(0)
    # exactly the planned variables are applied, whatever the section says by now; their texts are no templates
    outcome = await bench.apply(planned, **{**first, "vars": {"colour": "green"}}, cleanup=False)
    assert outcome.outputs["colour"].value == evil
    assert thing.read_text() == f"colour={evil}\n"
    assert not (tmp_path / "pwned").exists()
    assert bench.hosts.logins(0) == logins + 1, "both runs of the attempt use one connection"
    await no_process_of(bench)
    [packed] = bench.root.glob("data/**/runs/run-*/modules")
    assert {file.name.partition("-")[0] for file in packed.iterdir()} >= {
        "ansible.modules.stat",
        "ansible.modules.copy",
    }, "the next run of the attempt needs not pack them again"

    again = await bench.plan(**first)
    assert (again.empty, shown(again)) == (True, [])
    assert (await bench.apply(again, **first)).outputs["colour"].value == evil

    red = {**first, "vars": {"colour": "red"}}
    changed = await bench.plan(**red)
    assert shown(changed) == [("update", "web0/Configure the thing")]
    thing.unlink()
    with pytest.raises(PlanStale, match="web0/Configure the thing: create instead of update"):
        await bench.apply(changed, **red)
    assert not thing.exists()
    # what somebody has done by hand as it was planned is no reason to stop
    thing.write_text("colour=red\n")
    thing.chmod(0o600)
    os.chown(thing, bench.home().stat().st_uid, bench.home().stat().st_gid)
    assert (await bench.apply(changed, **red)).outputs["colour"].value == "red"
    thing.write_text("colour=pink\n")
    [drifted] = (await bench.drift(**red)).changes
    assert (drifted.action, drifted.address) == ("update", "web0/Configure the thing")
    assert "colour=red\n" in drifted.before.values()
    assert "colour=pink\n" in drifted.after.values()

    gone = await bench.plan_destroy(**red)
    assert shown(gone) == [("delete", "web0/Remove the thing")]
    await bench.apply(gone, **red)
    assert not thing.exists()
    assert bench.executor.held(json.dumps(await bench.record()).encode()) == ()
    assert (await bench.plan_destroy(**red)).empty


async def test_what_cannot_be_predicted_is_said_secrets_are_not_and_what_is_not_idempotent_is_noticed(
    bench: Bench, tmp_path: Path
):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - name: Count the runs
              ansible.builtin.command: sh -c 'echo run >> ~/runs.txt; sleep 1'
            - name: Only once
              ansible.builtin.shell: echo once >> ~/once.txt
              args: {creates: ~/once.txt}
            - name: In the background
              ansible.builtin.command: "true"
              async: 20
              poll: 1
            - name: Never
              ansible.builtin.command: "false"
              when: false
            - name: Keep the key
              ansible.builtin.lineinfile: {path: ~/key.conf, line: "key={{ key }}", create: true}
            - name: Keep the other key
              ansible.builtin.lineinfile: {path: ~/other.conf, line: "{{ key }}", create: true}
              no_log: true
            - name: Touch it always
              ansible.builtin.file: {path: ~/touched.txt, state: touch}
            - name: Give the key
              ansible.builtin.set_stats: {data: {key: "{{ key }}"}}
        """
    )
    section = {"vars": {"key": SECRET}, "outputs": {"key": {"sensitive": True}}, "secrets": (SECRET,)}
    unknown = ["web0/Count the runs", "web0/Only once", "web0/In the background"]
    async with _command_lines() as recorded:
        planned = await bench.plan(**section)
        assert [item.address for item in planned.changes if item.unknown == ("effect",)] == unknown
        assert planned.document["partial"] is True
        assert planned.document["unpredicted"] == unknown
        assert any("web0/Count the runs: will run, effect unknown" in line for line in bench.log)
        assert [*bench.home().glob("*.txt"), *bench.home().glob("*.conf")] == []
        outcome = await bench.apply(planned, **section, verify=True)
    assert (bench.home() / "runs.txt").read_text() == "run\n"
    assert (bench.home() / "key.conf").read_text() == f"key={SECRET}\n"
    warnings = [line for line in bench.log if "is not idempotent" in line]
    assert [line.partition(" is not")[0] for line in warnings] == ["warning: web0/Touch it always"]
    assert [f"warning: {words}" for words in outcome.warnings] == warnings
    repeated = await bench.apply(planned, **section, verify=True)
    assert repeated.warnings == outcome.warnings, (
        "an attempt that only sees the end of the one before tells them, too"
    )

    later = await bench.plan(**section)
    again = ["web0/Count the runs", "web0/In the background", "web0/Touch it always"]
    assert [item.address for item in later.changes] == again
    assert not later.empty

    assert outcome.outputs["key"].value == SECRET
    assert outcome.outputs["key"].sensitive
    assert any("ansible-playbook" in line for line in recorded)
    assert not [line for line in recorded if SECRET in line]
    shown_to_people = "\n".join(bench.log) + json.dumps([item.model_dump() for item in planned.changes])
    assert SECRET not in shown_to_people + json.dumps(planned.document)
    [hidden] = [item for item in planned.changes if item.address == "web0/Keep the other key"]
    assert hidden.after == {"effect": "hidden by the task's no_log"}
    kept = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert [file for file in kept if SECRET.encode() in file.read_bytes()] == []


@asynccontextmanager
async def _command_lines() -> AsyncIterator[set[str]]:
    """The command lines of all processes that run meanwhile."""
    recorded: set[str] = set()

    async def look() -> None:
        while True:
            for process in psutil.process_iter():
                try:
                    recorded.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue
            await asyncio.sleep(0.5)  # of tasks that take a second

    looking = asyncio.create_task(look())
    yield recorded
    looking.cancel()


async def test_a_host_that_is_away_or_has_another_key_is_named(bench: Bench):
    away = inventory(bench.hosts, 0)
    away["all"]["hosts"]["gone"] = {**bench.hosts.variables(1), "ansible_port": 1}
    away["all"]["hosts"]["other"] = {**bench.hosts.variables(1), "ansible_host": "localhost"}
    other_key = f"[localhost]:{bench.hosts.port} ssh-ed25519 AAAA\n"
    with pytest.raises(ToolFailed) as failed:
        await bench.plan(inventory=away, known_hosts=bench.hosts.known_hosts + other_key)
    assert re.search(r"host gone cannot be reached: .*Connection refused", failed.value.message)
    assert re.search(r"host other cannot be reached: .*Host key verification failed", failed.value.message)
    assert "web0" not in failed.value.message
    bench.write("- hosts: databases\n  tasks: []\n")
    with pytest.raises(ToolFailed, match="no host of the inventory matches"):
        await bench.plan()


async def test_a_task_that_fails_is_named_what_was_done_stays_and_a_host_that_leaves_is_forgotten(bench: Bench):
    bench.indices = (0, 1)
    bench.write(SITE + "    - name: Break web1\n      ansible.builtin.command: sh -c 'echo no disk; exit 3'\n"
                "      when: inventory_hostname == 'web1'\n")  # fmt: skip
    planned = await bench.plan(check="skip")
    assert shown(planned) == [("update", "web0"), ("update", "web1")]
    with pytest.raises(ToolFailed, match=r"web1/Break web1 \(ansible.builtin.command, site.yml:\d+\)"):
        await bench.apply(planned, check="skip")
    assert (bench.home(0) / "thing.conf").exists()
    assert (await bench.record())["hosts"] == ["web0", "web1"]

    bench.write(SITE)
    bench.indices = (0,)
    smaller = await bench.plan(check="skip")
    assert shown(smaller) == [("update", "web0"), ("forget", "web1")]
    await bench.apply(smaller, check="skip")
    # without a destroy playbook hosts are left as they are, and the plan says so
    gone = await bench.plan_destroy()
    assert shown(gone) == [("forget", "web0")]
    await bench.apply(gone)
    assert (bench.home() / "thing.conf").exists()
    assert (await bench.plan_destroy()).empty


async def test_a_playbook_that_check_mode_cannot_run_is_planned_as_unknown_and_a_cancel_ends_it_everywhere(
    bench: Bench,
):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - ansible.builtin.command: echo blue
              register: said
            - name: Write what was said
              ansible.builtin.copy: {dest: ~/said.txt, content: "{{ said.stdout_lines[0] }}"}
            - name: Work on
              ansible.builtin.shell: test -e ~/word.txt || { echo begun > ~/begun.txt; sleep 300; }
        """
    )
    with pytest.raises(ToolFailed, match=r"check mode failed: .*web0/Write what was said"):
        await bench.plan()
    planned = await bench.plan(check="skip")
    assert [(item.address, item.unknown) for item in planned.changes] == [("web0", ("effect",))]
    applying = asyncio.create_task(bench.apply(planned, check="skip"))
    await until((bench.home() / "begun.txt").exists, "the last task")
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    await no_process_of(bench)
    assert (bench.home() / "said.txt").read_text() == "blue"
    assert list((bench.root / "data").rglob("private_key")) == []
    # the next attempt continues with the same plan
    (bench.home() / "word.txt").touch()
    await bench.apply(planned, check="skip")
    assert any("the playbook runs again from its first task" in line for line in bench.log)


async def test_a_worker_that_is_killed_half_way_is_followed_by_the_same_plan(bench: Bench):
    bench.write(SITE + WAITING)
    planned = await bench.plan()
    assert [item.address for item in planned.changes] == ["web0/Configure the thing", "web0/Be done"]
    (bench.root / "plan").write_bytes(planned.artefact)
    (bench.root / "section.json").write_text(
        json.dumps(
            {
                "playbook": "site.yml",
                "inventory": inventory(bench.hosts, 0),
                "private_key": bench.hosts.private_key,
                "known_hosts": bench.hosts.known_hosts,
            }
        )
    )
    command = [sys.executable, str(Path(__file__).with_name("ansible_victim.py")), str(bench.root)]
    victim = await asyncio.create_subprocess_exec(*command, str(planned.position), start_new_session=True)
    await until((bench.home() / "thing.conf").exists, "the first task")
    os.killpg(victim.pid, signal.SIGKILL)
    await victim.wait()
    (bench.home() / "word.txt").write_text("")
    await no_process_of(bench)
    await bench.apply(planned)
    assert (bench.home() / "done.txt").read_text() == "done"
    assert any("the playbook runs again from its first task" in line for line in bench.log)
    await no_process_of(bench)


async def no_process_of(bench: Bench) -> None:
    """Wait until nothing of the test's attempts runs, here or on the host; a connection has its end there."""

    def is_gone() -> bool:
        return not (any(_belongs(item, bench.root) for item in psutil.process_iter()) or bench.hosts.processes(0))

    await until(is_gone, "no process of it", seconds=50)  # less than ssh's minute


def _belongs(process: psutil.Process, root: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and str(root) in process.environ().get("BONDSTONE_RUN", "")
    except (psutil.Error, OSError):
        return False


async def test_a_test_of_a_promise_changes_nothing_on_this_machine(bench: Bench, tmp_path: Path):
    target = tmp_path / "made"
    bench.write(
        f"""
        - hosts: all
          gather_facts: false
          tasks:
            - name: Make it
              ansible.builtin.copy: {{dest: "{target}", content: here}}
            - ansible.builtin.include_role: {{name: acme.base.paint}}
        """,
        "ansible/site.yml",
    )
    bench.write(
        "- ansible.builtin.set_stats: {data: {colour: red}}",
        "collections/ansible_collections/acme/base/roles/paint/tasks/main.yml",  # a collection of the bundle
    )
    away = {"all": {"hosts": {"somewhere": {"ansible_host": "192.0.2.1"}}}}
    section = {"playbook": "ansible/site.yml", "inventory": away, "outputs": OUTPUTS}
    planned = await bench.plan(trial=True, **section)
    assert shown(planned) == [("create", "somewhere/Make it")]
    outcome = await bench.apply(planned, trial=True, **section)
    assert (outcome.outputs["colour"].value, target.exists()) == ("red", False)
