"""Things that count themselves: the module that makes them one after the other, and what can be read of them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bondstone.activities.terraform.state import TerraformState
from harness import processes

PROMISE: Final = "chaos"
STEP: Final = "things"
DIRECTORY: Final = "made"
"""Beside the platform: where the files of the things are."""
MODULE: Final = "terraform/things"
PAUSE_SECONDS: Final = 0.2
"""How long it takes to make one, so that a kill finds it being made."""

_HEAD: Final = """\
variable "made" {
  type = string
}
"""
_THING: Final = """\
resource "terraform_data" "{name}" {{
  input      = "{name}"
  depends_on = [{after}]
  provisioner "local-exec" {{
    command     = "echo begun $NAME >> \\"$MADE\\" && sleep {pause} && echo made $NAME >> \\"$MADE\\""
    environment = {{ NAME = "{name}", MADE = var.made }}
  }}
}}
"""
_TAIL: Final = """\
output "last" {{
  value = terraform_data.{name}.output
}}
"""
_SPEC: Final = """\
  inputs:
    type: object
    required: [made]
    properties:
      made: {type: string}
      gated: {type: boolean, default: false}
  outputs:
    last: {value: "${steps.things.outputs.last}"}
  steps:
    - id: things
      terraform: {module: terraform/things, variables: {made: "${inputs.made}"}}
      timeout: 10m
  approval:
    - {when: "inputs.gated && size(plan.changes) > 0", roles: [dba], count: 1}
"""


TREE: Final = "chaos-tree"
PART: Final = "part"
"""What `TREE` calls its part, which makes things of its own before it makes the same."""
_TREE_SPEC: Final = """\
  inputs:
    type: object
    required: [made, part_made]
    properties:
      made: {type: string}
      part_made: {type: string}
      gated: {type: boolean, default: false}
  outputs:
    last: {value: "${steps.things.outputs.last}"}
  requires:
    - {as: part, promise: chaos, version: ">=1.0", inputs: {made: "${inputs.part_made}", gated: "${inputs.gated}"}}
  steps:
    - id: things
      needs: [part]
      terraform: {module: terraform/things, variables: {made: "${inputs.made}"}}
      timeout: 10m
"""


def names(count: int) -> list[str]:
    """What they are called, in the order in which they are made."""
    return [f"thing_{number:02}" for number in range(count)]


def module(count: int) -> str:
    """The module, so that one is made after the other."""
    blocks, after = [_HEAD], ""
    for name in names(count):
        blocks.append(_THING.format(name=name, after=after, pause=PAUSE_SECONDS))
        after = f"terraform_data.{name}"
    return "".join([*blocks, _TAIL.format(name=names(count)[-1])])


def promise(directory: Path, count: int) -> Path:
    """The same as a promise, which asks people first where `gated` says so."""
    return processes.write_promise(directory / PROMISE, PROMISE, {f"{MODULE}/main.tf": module(count)}, _SPEC)


def tree(directory: Path, count: int) -> Path:
    """A promise that requires the one above, and makes as many things itself afterwards."""
    return processes.write_promise(directory / TREE, TREE, {f"{MODULE}/main.tf": module(count)}, _TREE_SPEC)


@dataclass(frozen=True, slots=True)
class Counted:
    """The file to which each thing writes its name when it is begun and when it is made."""

    file: Path

    def times(self, what: str) -> Counter[str]:
        """How often each thing was `begun` or `made`."""
        text = self.file.read_text() if self.file.exists() else ""
        return Counter(name for word, name in map(str.split, text.splitlines()) if word == what)

    def twice(self, what: str) -> int:
        """How many times too many, over all things."""
        return sum(times - 1 for times in self.times(what).values())


def held(state: TerraformState | None) -> dict[str, str]:
    """The things that a state holds whole: name to the id that this very one got when it was made."""
    if state is None:
        return {}
    return {
        str(resource["name"]): str(instance["attributes"]["id"])
        for resource in state.content.get("resources", ())
        for instance in resource.get("instances", ())
        if instance.get("status") != "tainted"
    }


def terraform_pid(run: Path) -> int:
    """The Terraform of a run directory of ours; 0 when none runs or the directory is just being made."""
    try:
        return int(json.loads((run / "attempt.json").read_bytes())["pid"])
    except (OSError, ValueError, KeyError):
        return 0
