"""The version of Ansible is what the command itself would say."""

from __future__ import annotations

import sys
from pathlib import Path

from bondstone.activities.ansible.executor import AnsibleExecutor
from bondstone.base.settings import Settings


async def test_the_package_says_what_the_command_says(tmp_path: Path) -> None:
    # By another path the same command is run, in place of reading its package.
    command = tmp_path / "ansible-playbook"
    command.symlink_to(Path(sys.executable).with_name("ansible-playbook"))
    executor = AnsibleExecutor()
    version = await executor.version(Settings(data=tmp_path))
    assert version.startswith("Ansible 2.")
    assert version == await executor.version(Settings(data=tmp_path, ansible=str(command)))
