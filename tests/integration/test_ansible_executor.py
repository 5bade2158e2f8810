"""The Ansible executor against real hosts: users of a real sshd, a real ansible-playbook."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from ansible_kit import Bench, inventory, shown

from bondstone.base.errors import PlanStale, ToolFailed

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
      ansible.builtin.shell: test ! -e ~/begin.txt || while [ ! -e ~/word.txt ]; do sleep 0.1; done
      changed_when: false
      check_mode: false
    - name: Be done
      ansible.builtin.copy: {dest: ~/done.txt, content: done}
"""
OUTPUTS = {"colour": {}}


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


async def test_a_host_is_set_up_changed_looked_after_and_taken_down(bench: Bench):
    section = {"destroy": "teardown.yml", "outputs": OUTPUTS}
    planned = await bench.plan(**section)
    assert shown(planned) == [("create", "web0/Configure the thing")]
    assert planned.tool.startswith("Ansible ")
    assert planned.changes[0].type == "ansible.builtin.copy"
    assert "colour=blue\n" in planned.changes[0].after.values()
    assert not (bench.home() / "thing.conf").exists()
    outcome = await bench.apply(planned, **section)
    assert outcome.outputs["colour"].value == "blue"
    assert (bench.home() / "thing.conf").read_text() == "colour=blue\n"

    again = await bench.plan(**section)
    assert (again.empty, shown(again)) == (True, [])
    assert (await bench.apply(again, **section)).outputs["colour"].value == "blue"

    red = {**section, "vars": {"colour": "red"}}
    changed = await bench.plan(**red)
    assert shown(changed) == [("update", "web0/Configure the thing")]
    assert (await bench.apply(changed, **red)).outputs["colour"].value == "red"
    assert (await bench.drift(**red)).changes == []

    (bench.home() / "thing.conf").write_text("colour=pink\n")
    [drifted] = (await bench.drift(**red)).changes
    assert (drifted.action, drifted.address) == ("update", "web0/Configure the thing")
    assert "colour=red\n" in drifted.before.values()
    assert "colour=pink\n" in drifted.after.values()
    (bench.home() / "thing.conf").unlink()
    assert [item.action for item in (await bench.drift(**red)).changes] == ["delete"]
    await bench.provision(**red)

    gone = await bench.plan_destroy(**red)
    assert shown(gone) == [("delete", "web0/Remove the thing")]
    await bench.apply(gone, **red)
    assert not (bench.home() / "thing.conf").exists()
    assert bench.executor.held(json.dumps(await bench.record()).encode()) == ()
    assert (await bench.plan_destroy(**red)).empty


async def test_what_check_mode_cannot_predict_is_said_and_makes_the_plan_partial(bench: Bench):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - name: Count the runs
              ansible.builtin.command: sh -c 'echo run >> ~/runs.txt'
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
        """
    )
    planned = await bench.plan()
    assert [(item.address, item.unknown) for item in planned.changes] == [
        ("web0/Count the runs", ("effect",)),
        ("web0/Only once", ("effect",)),
        ("web0/In the background", ("effect",)),
    ]
    assert planned.document["partial"] is True
    assert planned.document["unpredicted"] == [item.address for item in planned.changes]
    assert any("web0/Count the runs: will run, effect unknown" in line for line in bench.log)
    assert list(bench.home().glob("*.txt")) == []
    await bench.apply(planned)
    assert (bench.home() / "runs.txt").read_text() == "run\n"
    later = await bench.plan()
    assert [item.address for item in later.changes] == ["web0/Count the runs", "web0/In the background"]
    assert not later.empty
    assert (await bench.drift()).changes == [], "that a command would run again says nothing of the host"


async def test_a_plan_that_the_hosts_have_overtaken_is_not_applied(bench: Bench):
    await bench.provision()
    planned = await bench.plan(vars={"colour": "red"})
    (bench.home() / "thing.conf").unlink()
    with pytest.raises(PlanStale, match="web0/Configure the thing: create instead of update"):
        await bench.apply(planned, vars={"colour": "red"})
    assert not (bench.home() / "thing.conf").exists()
    # what somebody has done by hand as it was planned is no reason to stop
    planned = await bench.plan(vars={"colour": "red"})
    (bench.home() / "thing.conf").write_text("colour=red\n")
    (bench.home() / "thing.conf").chmod(0o600)
    os.chown(bench.home() / "thing.conf", *(bench.home().stat().st_uid, bench.home().stat().st_gid))
    await bench.apply(planned, vars={"colour": "red"})


async def test_exactly_the_planned_variables_are_applied(bench: Bench):
    planned = await bench.plan(vars={"colour": "red"})
    await bench.apply(planned, vars={"colour": "green"})
    assert (bench.home() / "thing.conf").read_text() == "colour=red\n"


async def test_texts_of_inputs_are_texts_and_no_templates(bench: Bench, tmp_path: Path):
    evil = "{{ lookup('pipe', 'touch " + str(tmp_path / "pwned") + '\') }}\nsecond "line" \u2028 \x07 é 😀'
    await bench.provision(vars={"colour": evil})
    assert not (tmp_path / "pwned").exists()
    assert (bench.home() / "thing.conf").read_text() == f"colour={evil}\n"


async def test_secrets_are_in_no_command_line_log_change_set_or_file_that_stays(bench: Bench, tmp_path: Path):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - name: Keep the key
              ansible.builtin.copy: {dest: ~/key.conf, content: "key={{ key }}"}
            - name: Keep the other key
              ansible.builtin.copy: {dest: ~/other.conf, content: "{{ key }}"}
              no_log: true
            - name: Take a while
              ansible.builtin.command: sleep 1
            - name: Give the key
              ansible.builtin.set_stats: {data: {key: "{{ key }}"}}
        """
    )
    section = {"vars": {"key": SECRET}, "outputs": {"key": {"sensitive": True}}, "secrets": (SECRET,)}
    recorded: set[str] = set()

    async def look() -> None:
        while True:
            for process in psutil.process_iter():
                try:
                    recorded.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    planned = await bench.plan(**section)
    outcome = await bench.apply(planned, **section)
    looking.cancel()
    assert outcome.outputs["key"].value == SECRET
    assert outcome.outputs["key"].sensitive
    assert (bench.home() / "key.conf").read_text() == f"key={SECRET}"
    assert any("ansible-playbook" in line for line in recorded)
    assert not [line for line in recorded if SECRET in line]
    shown_to_people = "\n".join(bench.log) + json.dumps([item.model_dump() for item in planned.changes])
    assert SECRET not in shown_to_people + json.dumps(planned.document)
    assert planned.changes[1].after == {"effect": "hidden by the task's no_log"}
    kept = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert [file for file in kept if SECRET.encode() in file.read_bytes()] == []


async def test_a_host_that_is_away_or_has_another_key_is_named(bench: Bench):
    away = inventory(bench.hosts, 0)
    away["all"]["hosts"]["gone"] = {**bench.hosts.variables(1), "ansible_port": 1}
    with pytest.raises(ToolFailed, match=r"host gone cannot be reached: .*Connection refused"):
        await bench.plan(inventory=away)
    with pytest.raises(ToolFailed, match=r"host web0 cannot be reached: .*Host key verification failed"):
        await bench.plan(known_hosts="[127.0.0.1]:1 ssh-ed25519 AAAA\n")
    bench.write("- hosts: databases\n  tasks: []\n")
    with pytest.raises(ToolFailed, match="no host of the inventory matches"):
        await bench.plan()


async def test_a_task_that_fails_is_named_with_its_host_and_what_was_done_stays(bench: Bench):
    bench.indices = (0, 1)
    bench.write(SITE + "    - name: Break web1\n      ansible.builtin.command: sh -c 'echo no disk; exit 3'\n"
                "      when: inventory_hostname == 'web1'\n")  # fmt: skip
    planned = await bench.plan()
    with pytest.raises(ToolFailed, match=r"web1/Break web1 \(ansible.builtin.command, site.yml:\d+\)"):
        await bench.apply(planned)
    assert (bench.home(0) / "thing.conf").exists()
    assert (await bench.record())["hosts"] == ["web0", "web1"]
    bench.write(SITE)
    await bench.provision()


async def test_a_cancel_leaves_no_process_here_nor_on_the_host(bench: Bench):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - name: Work on
              ansible.builtin.shell: echo begun > ~/begun.txt; sleep 300; echo done > ~/done.txt
        """
    )
    planned = await bench.plan()
    applying = asyncio.create_task(bench.apply(planned))
    async with asyncio.timeout(300):
        while not (bench.home() / "begun.txt").exists():  # noqa: ASYNC110 - a fact of another process
            await asyncio.sleep(0.05)
    applying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await applying
    assert [item for item in psutil.process_iter() if _belongs(item, bench.root)] == []
    async with asyncio.timeout(20):
        while any("sleep 300" in line for line in bench.hosts.processes(0)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert list((bench.root / "data").rglob("private_key")) == []
    # the next attempt goes on with the same plan
    bench.write(SITE)
    assert not (await bench.plan()).empty


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
    async with asyncio.timeout(300):
        while "apply" not in _verbs(bench.root):  # noqa: ASYNC110 - a fact of another process
            await asyncio.sleep(0.02)
    (bench.home() / "begin.txt").write_text("")  # from here on the playbook waits
    async with asyncio.timeout(300):
        while not (bench.home() / "thing.conf").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    os.killpg(victim.pid, signal.SIGKILL)
    await victim.wait()
    (bench.home() / "word.txt").write_text("")
    await bench.apply(planned)
    assert (bench.home() / "done.txt").read_text() == "done"
    assert any("the playbook runs again from its first task" in line for line in bench.log)
    assert [item for item in psutil.process_iter() if _belongs(item, bench.root)] == []


def _belongs(process: psutil.Process, root: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and str(root) in process.environ().get("BONDSTONE_RUN", "")
    except (psutil.Error, OSError):
        return False


def _verbs(root: Path) -> set[str]:
    """Which kinds of ansible-playbook of this test run now."""
    collected = set()
    for process in psutil.process_iter():
        if _belongs(process, root):
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if any(part.endswith("ansible-playbook") for part in line):
                collected.add("check" if "--check" in line else "apply")
    return collected


async def test_a_playbook_that_is_not_idempotent_is_noticed(bench: Bench):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - name: Touch it always
              ansible.builtin.file: {path: ~/touched.txt, state: touch}
        """
    )
    await bench.provision(verify=True)
    assert any("web0/Touch it always is not idempotent" in line for line in bench.log)


async def test_without_a_destroy_playbook_hosts_are_left_as_they_are_and_the_plan_says_so(bench: Bench):
    bench.indices = (0, 1)
    await bench.provision()
    bench.indices = (0,)
    smaller = await bench.plan()
    assert shown(smaller) == [("forget", "web1")]
    await bench.apply(smaller)
    gone = await bench.plan_destroy()
    assert shown(gone) == [("forget", "web0")]
    await bench.apply(gone)
    assert (bench.home() / "thing.conf").exists()
    assert (await bench.plan_destroy()).empty


async def test_a_playbook_that_check_mode_cannot_run_is_planned_as_unknown(bench: Bench):
    bench.write(
        """
        - hosts: all
          gather_facts: false
          tasks:
            - ansible.builtin.command: echo blue
              register: said
            - name: Write what was said
              ansible.builtin.copy: {dest: ~/said.txt, content: "{{ said.stdout_lines[0] }}"}
        """
    )
    with pytest.raises(ToolFailed, match=r"check mode failed: .*web0/Write what was said"):
        await bench.plan()
    planned = await bench.plan(check="skip")
    assert [(item.address, item.unknown) for item in planned.changes] == [("web0", ("effect",))]
    await bench.apply(planned, check="skip")
    assert (bench.home() / "said.txt").read_text() == "blue"


async def test_a_test_of_a_promise_changes_nothing_on_this_machine(bench: Bench, tmp_path: Path):
    target = tmp_path / "made"
    bench.write(
        f"""
        - hosts: all
          gather_facts: false
          tasks:
            - name: Make it
              ansible.builtin.copy: {{dest: "{target}", content: here}}
            - ansible.builtin.set_stats: {{data: {{colour: red}}}}
        """
    )
    away = {"all": {"hosts": {"somewhere": {"ansible_host": "192.0.2.1"}}}}
    planned = await bench.plan(trial=True, inventory=away, outputs=OUTPUTS)
    assert shown(planned) == [("create", "somewhere/Make it")]
    outcome = await bench.apply(planned, trial=True, inventory=away, outputs=OUTPUTS)
    assert (outcome.outputs["colour"].value, target.exists()) == ("red", False)
