"""`bond promise init --from ansible:…`: what a role or a playbook becomes, and what is said of the rest."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml

from bondstone.activities.ansible.scaffold import draft
from bondstone.base.errors import InvalidInput
from bondstone.executors.registry import load_executors
from bondstone.executors.scaffold import kept, update_promise, write_promise
from bondstone.promise.validation.before_publish import validate

CONNECTION = {"host", "login", "hostKeys", "loginKey"}
SPECS = """
argument_specs:
  main:
    short_description: A web server.
    required_together: [[tls_certificate, tls_key]]
    options:
      site: {type: str, required: true, description: [Name of the site., Lower case.]}
      port: {type: int, choices: [80, 8080], default: 80, aliases: [http_port]}
      modules: {type: list, elements: str}
      users:
        type: list
        elements: dict
        options:
          name: {type: str, required: true}
          admin: {type: bool}
          password: {type: str, no_log: true}
        default: []
      home: {type: path}
      size: {type: bytes, default: 1M}
      tls_key: {no_log: true, required: true}
      tls_certificate: {type: str}
      workers: {type: int}
      strict: {type: bool, default: "maybe"}
      host: {type: str, default: web}
  remove: {options: {}}
"""
DEFAULTS = """
modules: [gzip]
workers: "{{ ansible_processor_vcpus }}"
log_level: info
keep_days: 7
proxy:
token: !vault |
  $ANSIBLE_VAULT;1.1;AES256
since: 2026-01-01
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


@pytest.fixture
def role(tmp_path: Path) -> Path:
    return write(
        tmp_path / "web_server",
        {
            "meta/argument_specs.yml": SPECS,
            "defaults/main.yml": DEFAULTS,
            "tasks/main.yml": "- ansible.builtin.debug: {msg: '{{ site }}'}\n",
        },
    )


def test_roles_that_a_role_depends_on_are_named(tmp_path: Path):
    files = {"meta/main.yml": "dependencies: [common, {role: firewall, port: 80}]\n", "tasks/main.yml": "[]\n"}
    assert list(draft(write(tmp_path / "web", files)).untranslated)[:2] == [
        "the role common that it depends on: copy it into ansible/roles",
        "the role firewall that it depends on: copy it into ansible/roles",
    ]


def test_no_value_of_a_secret_becomes_the_default_of_an_input(tmp_path: Path):
    hidden = "options: {db_key: {no_log: true}, key: {no_log: true, required: true}}"
    files = {
        "meta/argument_specs.yml": f"argument_specs: {{main: {{{hidden}}}}}\n",
        "defaults/main.yml": "db_key: hunter2\nkey: hunter2\nadmin_password: hunter2\nport: 80\n",
        "tasks/main.yml": "[]\n",
    }
    made = draft(write(tmp_path / "database", files))
    assert made.inputs["properties"].keys() - CONNECTION == {"port", "key"}
    assert made.inputs["properties"]["key"] == {"type": "string", "writeOnly": True}
    assert "hunter2" not in str(made)
    assert list(made.untranslated)[:2] == [
        "variable db_key: it is a secret with a default, which is not shown",
        "variable admin_password (defaults): it looks like a secret; its value stays as it is",
    ]


def test_no_secret_inside_a_value_becomes_the_default_of_an_input(tmp_path: Path):
    spec = """
    argument_specs:
      main:
        options:
          users: {type: list, elements: dict, options: {name: {}, pin: {no_log: true}}}
          admin_password: {type: str, default: hunter2}
          proxy: {type: dict, required: true, default: {login: {api_key: hunter2}}}
          sites: {type: list, elements: dict, default: [{name: a, password: ""}]}
    """
    files = {
        "meta/argument_specs.yml": spec,
        "defaults/main.yml": "users: [{name: ada}, {name: bob, pin: hunter2}]\ndb: {hosts: [{token: hunter2}]}\n",
        "tasks/main.yml": "[]\n",
    }
    made = draft(write(tmp_path / "database", files))
    assert "hunter2" not in str(made)
    assert made.inputs["properties"].keys() - CONNECTION == {"proxy", "sites"}
    assert "default" not in made.inputs["properties"]["proxy"]
    assert set(made.inputs["required"]) == CONNECTION | {"proxy"}
    assert [line for line in made.untranslated if "looks like" in line] == [
        "variable users: users[1].pin of its default looks like a secret, which is not shown",
        "variable admin_password: admin_password of its default looks like a secret, which is not shown",
        "variable proxy: proxy.login.api_key of its default looks like a secret, which is not shown",
        "variable db (defaults): db.hosts[0].token looks like a secret; its value stays as it is",
    ]


PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n"
PUBLIC = "-----BEGIN CERTIFICATE-----\nMII\n"
SECRETS = {
    ".git/config": "hunter2",
    ".vault_pass": "hunter2",
    "secrets/word": "hunter2",
    "tools/vault-password.txt": "hunter2",
    "login": PRIVATE,
    "files/web.key": "hunter2",
    "hosts": "[web]\nw1 ansible_password=hunter2\n",
    "production": "w1 ansible_host=10.0.0.1 ansible_password=hunter2\n",
    "staging.yml": "all: {hosts: {w1: {ansible_password: hunter2}}}\n",
    "inventories/prod/hosts": "hunter2",
}
WORKING = {
    "ansible.cfg": "[defaults]\nvault_password_file = ./secrets/word\n",
    "site.yml": "- hosts: all\n",
    "hosts.yml": "- hosts: all\n",
    "group_vars/all/vault_password.yml": "$ANSIBLE_VAULT;1.1;AES256\n00\n",
    "files/ca.pem": PUBLIC,
    "roles/common/templates/hosts": "127.0.0.1 localhost\n",
    "roles/common/templates/web.key.j2": "{{ key }}\n",
    "roles/vault/tasks/vault_password.yml": "[]\n",
}


def test_keys_vault_passwords_and_inventories_are_not_copied_and_are_named(tmp_path: Path):
    made = draft(write(tmp_path / "books", SECRETS | WORKING))
    target = tmp_path / "promise"
    write_promise(target, "books", made)
    copied = {
        path.relative_to(target / "ansible").as_posix()
        for path in (target / "ansible").rglob("*")
        if path.is_file()
    }
    assert copied == WORKING.keys()
    assert not [path for path in target.rglob("*") if path.is_file() and "hunter2" in path.read_text()]
    omitted = [line.partition(": it is not copied: ")[0] for line in made.untranslated if "not copied" in line]
    assert omitted == sorted({".git", "inventories", *SECRETS} - {".git/config", "inventories/prod/hosts"})
    assert "- hosts: it is not copied: an inventory; the step has its own" in (target / "README.md").read_text()


def test_a_role_keeps_its_hosts_and_loses_its_keys(tmp_path: Path):
    files = {"tasks/main.yml": "[]\n", "hosts": "[a]\n", "files/id": PRIVATE, "tests/test.yml": ""}
    made = draft(write(tmp_path / "web", files))
    assert made.without == {"files/id", "tests"}


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path):
    folder = write(tmp_path / "books", {"site.yml": "- hosts: all\n", "login": PRIVATE})
    (folder / "again").symlink_to(folder)
    assert "login" in draft(folder).without


def test_an_update_names_what_an_older_version_copied(tmp_path: Path):
    folder = write(tmp_path / "books", {"site.yml": "- hosts: all\n", "inventories/prod": "x"})
    target = tmp_path / "promise"
    write_promise(target, "books", draft(folder))
    write(target, {"ansible/inventories/prod": "x"})
    assert [line.partition(":")[0] for line in kept(target, draft(folder))] == ["ansible/inventories/prod"]


def test_a_role_becomes_inputs_and_a_list_of_the_rest(role: Path):
    made = draft(role)
    properties = dict(made.inputs["properties"])
    assert {name: properties.pop(name) for name in CONNECTION}["loginKey"]["writeOnly"] is True
    assert properties == {
        "site": {"type": "string", "description": "Name of the site. Lower case."},
        "port": {"type": "integer", "enum": [80, 8080], "default": 80},
        "modules": {"type": "array", "items": {"type": "string"}, "default": ["gzip"]},
        "users": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "admin": {"type": "boolean"},
                    "password": {"type": "string"},
                },
                "additionalProperties": False,
                "required": ["name"],
            },
            "default": [],
        },
        "size": {"type": "string", "default": "1M"},
        "tls_key": {"type": "string", "writeOnly": True},
        "log_level": {"type": "string", "default": "info"},
        "keep_days": {"type": "integer", "default": 7},
        "since": {"type": "string", "default": "2026-01-01"},
    }
    assert set(made.inputs["required"]) == CONNECTION | {"site", "tls_key"}
    assert made.section["vars"] == {name: f"${{inputs.{name}}}" for name in properties}
    assert list(made.untranslated) == [
        "variable port: its aliases are not inputs",
        "variable users.password: it is a secret inside of another variable, and is not kept as one",
        "variable home: it is optional and has no default, so it is not passed",
        "variable size: the type bytes is taken as a text",
        "variable tls_certificate: it is optional and has no default, so it is not passed",
        "variable workers: Ansible computes its default, which stays as it is",
        "variable strict: its default does not fit its own type",
        "variable strict: it is optional and has no default, so it is not passed",
        "variable host: an input that says how to reach the host has this name",
        "required_together of the role's arguments: Ansible still checks it",
        "entry point remove: the playbook runs the role's `main`",
        "variable workers (defaults): Ansible computes its value, which stays as it is",
        "variable proxy (defaults): its type is not clear from its value; it stays as it is",
        "variable token (defaults): Ansible computes its value, which stays as it is",
        "what undoes it: write a playbook that does, and name it as `destroy` of the step",
    ]


def test_the_promise_of_a_role_validates_as_generated(role: Path, tmp_path: Path):
    target = tmp_path / "promise"
    write_promise(target, "web-server", draft(role))
    assert validate(target, load_executors()).promise.spec.steps
    [play] = yaml.safe_load((target / "ansible" / "site.yml").read_text())
    assert play["roles"] == ["web_server"]
    assert (target / "ansible" / "roles" / "web_server" / "tasks" / "main.yml").is_file()
    assert (
        "- variable proxy (defaults): its type is not clear from its value" in (target / "README.md").read_text()
    )


def test_a_newer_role_raises_the_version(role: Path, tmp_path: Path):
    target = tmp_path / "promise"
    write_promise(target, "web-server", draft(role), version="1.0.0")
    (role / "defaults" / "main.yml").write_text(DEFAULTS.replace("keep_days: 7", "colour: blue"))
    before, after, changes = update_promise(target, draft(role))
    assert (before, after) == ("1.0.0", "2.0.0")
    assert {(change.path, change.what) for change in changes} == {("keep_days", "is gone"), ("colour", "is new")}
    [step] = yaml.safe_load((target / "promise.yaml").read_text())["spec"]["steps"]
    assert "keep_days" not in step["ansible"]["vars"]
    assert step["ansible"]["vars"]["colour"] == "${inputs.colour}"
    assert validate(target, load_executors()).promise.spec.steps


PLAYBOOK = """
- hosts: all
  vars: {colour: blue, count: 3, path: "/srv/{{ colour }}"}
  vars_files: [more.yml]
  roles: [common, {role: web, port: 80}]
  tasks:
    - ansible.builtin.debug: {msg: "{{ colour }}"}
"""


@pytest.mark.parametrize("named", ["site.yml", ""])
def test_a_playbook_becomes_a_promise_with_its_folder(tmp_path: Path, named: str):
    folder = write(tmp_path / "books", {"site.yml": PLAYBOOK, "more.yml": "a: b\n", "roles/common/x": ""})
    made = draft(folder / named)
    assert set(made.inputs["properties"]) - CONNECTION == {"colour", "count"}
    assert list(made.untranslated) == [
        "variable path (vars): Ansible computes its value, which stays as it is",
        "variables of more.yml (vars_files): they stay as they are",
        "variables of the role common: name the role's own folder to have them as inputs",
        "variables of the role web: name the role's own folder to have them as inputs",
        "what undoes it: write a playbook that does, and name it as `destroy` of the step",
    ]
    target = tmp_path / "promise"
    write_promise(target, "books", made)
    assert validate(target, load_executors()).promise.spec.steps
    assert (target / "ansible" / "more.yml").is_file()


def test_an_update_keeps_the_playbook_that_undoes_it(tmp_path: Path):
    folder = write(tmp_path / "books", {"site.yml": PLAYBOOK, "more.yml": "a: b\n", "roles/common/x": ""})
    target = tmp_path / "promise"
    write_promise(target, "books", draft(folder))
    write(target, {"ansible/teardown.yml": "- hosts: all\n", "ansible/roles/common/tasks/main.yml": "[]\n"})
    (folder / "more.yml").write_text("a: c\n")
    newer = draft(folder)
    update_promise(target, newer)
    assert (target / "ansible" / "teardown.yml").is_file(), "people are told to write it there"
    assert (target / "ansible" / "more.yml").read_text() == "a: c\n"
    assert [line.partition(":")[0] for line in kept(target, newer)] == [
        "ansible/roles/common/tasks/main.yml",
        "ansible/teardown.yml",
    ]
    assert "- ansible/teardown.yml: not of the newer version" in (target / "README.md").read_text()


def test_an_update_of_a_role_replaces_its_own_folder_alone(role: Path, tmp_path: Path):
    target = tmp_path / "promise"
    write_promise(target, "web-server", draft(role))
    write(target, {"ansible/teardown.yml": "", "ansible/roles/web_server/gone.yml": ""})
    update_promise(target, draft(role))
    assert (target / "ansible" / "teardown.yml").is_file()
    assert not (target / "ansible" / "roles" / "web_server" / "gone.yml").exists()
    assert kept(target, draft(role)) == []


def test_what_cannot_be_read_says_what_to_name_instead(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"is not a role and holds no site\.yml"):
        draft(write(tmp_path / "empty", {"README.md": ""}))
    with pytest.raises(InvalidInput, match="nobody can answer `vars_prompt` on a worker"):
        draft(write(tmp_path / "ask", {"site.yml": "- hosts: all\n  vars_prompt: [{name: key}]\n"}))
    with pytest.raises(InvalidInput, match=r"main\.yml is not valid YAML"):
        draft(write(tmp_path / "broken", {"tasks/main.yml": "[]", "defaults/main.yml": "a: [\n"}))


def test_an_argument_whose_name_no_input_can_have_is_named_and_left(tmp_path: Path):
    argument = "{type: dict, options: {safe-mode: {type: bool}, 'a.b': {type: str}}}"
    specs = "argument_specs: {main: {options: {'opts.safe': {type: int}, opts: %s}}}" % argument  # noqa: UP031
    for file, text in {
        "tasks/main.yml": "[]",
        "meta/argument_specs.yml": specs,
        "defaults/main.yml": "opts: {}",
    }.items():
        (tmp_path / "role" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "role" / file).write_text(text)
    drafted = draft(tmp_path / "role")
    assert list(drafted.inputs["properties"]["opts"]["properties"]) == ["safe-mode"]
    assert drafted.inputs["properties"]["opts"]["additionalProperties"] is True
    assert "opts.safe" not in drafted.inputs["properties"]
    assert sum("'a.b'" in line or "opts.safe" in line for line in drafted.untranslated) == 2
