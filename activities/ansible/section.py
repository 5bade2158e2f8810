"""The `ansible` section of a step in a promise."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from bondstone.base.models import Manifest


class AnsibleOutput(Manifest):
    """One output: a statistic that the playbook sets by `set_stats`, under the same name."""

    sensitive: bool = False
    """It is a secret: it goes to the secret store and is shown nowhere."""


class AnsibleSection(Manifest):
    """What a promise says of an Ansible step."""

    playbook: str = Field(min_length=1, max_length=512)
    """File of the promise: `ansible/site.yml`. Roles, collections, `group_vars` and `ansible.cfg` beside it count.
    Never an expression."""
    inventory: str | dict[str, Any] = Field(max_length=512)
    """File of the promise, or an inventory written here (`all: {hosts: {web: {ansible_host: "${inputs.host}"}}}`).
    Texts written here are plain texts: Ansible evaluates nothing in them."""
    variables: dict[str, Any] = Field(default={}, alias="vars")
    """Extra variables, by a private file. Texts are plain texts: Ansible evaluates nothing in them."""
    destroy: str = Field(default="", max_length=512)
    """File of the promise: the playbook that takes down what the other one makes. Without one the hosts are left
    as they are when the service goes, and the plan says so (`forget`)."""
    check: Literal["required", "skip"] = "required"
    """`required`: plans are made by check mode, and nothing beyond the plan is applied. `skip`: for playbooks that
    check mode cannot run; the plan says of each host that its changes are unknown."""
    verify: bool = True
    """Run check mode once more after the playbook, and say which tasks would change something again."""
    known_hosts: str = Field(default="", max_length=256 * 1024)
    """Host keys, as in a `known_hosts` file. Without them those of the worker's machine count. A host whose key is
    in neither is refused."""
    private_key: str = Field(default="", max_length=64 * 1024)
    """Private key to log in with; an input that is `writeOnly`, say. Without one the worker's own."""
    vault_password: str = Field(default="", max_length=1024)
    """Opens files of the promise that `ansible-vault` has sealed."""
    forks: int = Field(default=5, ge=1, le=100)
    """Hosts at once."""
    outputs: dict[str, AnsibleOutput] = Field(default={}, max_length=100)
    """What later steps and the promise may use."""

    @model_validator(mode="after")
    def _inside(self) -> Self:
        for name in (self.playbook, self.destroy, self.inventory):
            if isinstance(name, str) and not is_inside(name):
                raise ValueError(f"{name!r} is not a file of the promise: say its path from the promise's folder")
        return self


def is_inside(name: str) -> bool:
    """Whether a path cannot lead out of the promise."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
