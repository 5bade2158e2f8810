"""Collections and roles that a `requirements.yml` names: publishing says what no worker will have."""

from __future__ import annotations

from pathlib import Path

from bondstone.activities.ansible.executor import AnsibleExecutor
from bondstone.activities.ansible.section import AnsibleSection
from bondstone.base.settings import Settings

REQUIREMENTS = """\
collections:
  - community.general
  - name: ansible.posix
    version: ">=1.5"
  - ours.own:1.0.0
  - name: https://git.example/platform/hosts.git
    type: git
roles:
  - {src: "https://git.example/web.git", scm: git}
  - {src: geerlingguy.nginx}
"""


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


async def warnings(folder: Path) -> list[tuple[str, int | None, str]]:
    section = AnsibleSection(playbook="ansible/site.yml", inventory={"all": {}})
    report = await AnsibleExecutor().ask_tool([section, section], folder, Settings(data=folder), fetch=False)
    assert not report.problems, "a worker may have them by other means"
    return [(each.file, each.line, each.message) for each in report.warnings]


async def test_what_requirements_name_and_the_folder_lacks_is_a_warning_with_its_place(tmp_path: Path) -> None:
    assert await warnings(tmp_path) == []
    write(tmp_path, "ansible/requirements.yml", REQUIREMENTS)
    write(tmp_path, "collections/ansible_collections/ansible/posix/MANIFEST.json", "{}")
    write(tmp_path, "ansible/collections/ansible_collections/ours/own/MANIFEST.json", "{}")
    write(tmp_path, "ansible/roles/web/tasks/main.yml", "[]")
    lacks = "is not in the promise's folder, and no worker fetches it"
    file = "ansible/requirements.yml"
    assert await warnings(tmp_path) == [
        (file, 2, f"the collection community.general {lacks}"),
        (file, 6, f"the collection https://git.example/platform/hosts.git {lacks}"),
        (file, 10, f"the role geerlingguy.nginx {lacks}"),
    ]


async def test_every_place_and_form_of_requirements_is_read(tmp_path: Path) -> None:
    write(tmp_path, "roles/requirements.yml", "- src: geerlingguy.nginx\n- name: web\n")
    write(tmp_path, "collections/requirements.yaml", "collections: [community.general]\n")
    write(tmp_path, "requirements.yml", "- [\n")
    told = await warnings(tmp_path)
    assert [(file, line) for file, line, _ in told] == [
        ("collections/requirements.yaml", 1),
        ("requirements.yml", 2),
        ("roles/requirements.yml", 1),
        ("roles/requirements.yml", 2),
    ]
    assert "community.general" in told[0][2]
