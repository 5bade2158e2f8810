#!/usr/bin/env bash
# ansible-runner: a run that ends as `canceled` leaves its command running.
#
# Versions: ansible-core 2.19.14, ansible-runner 2.4.3, Python 3.11, Linux.
# Behaviour: `cancel_callback` returns True while a task runs `sleep 4711`. The run ends with status `canceled`, and the
# sleep lives on: ansible-core's workers call setsid(), and ansible-runner kills only the process group of
# ansible-playbook (Runner.handle_termination).
# Seen: "status: canceled" and "still running: sleep 4711". Exits 1 if the command is gone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ansible-core==2.19.14 ansible-runner==2.4.3
mkdir -p "$work/data/project" "$work/data/inventory"
echo "localhost ansible_connection=local ansible_python_interpreter=$work/venv/bin/python" > "$work/data/inventory/hosts"
cat > "$work/data/project/site.yml" <<'PLAYBOOK'
- hosts: localhost
  gather_facts: false
  tasks: [{ansible.builtin.command: sleep 4711}]
PLAYBOOK
cat > "$work/cancel.py" <<'PYTHON'
import os
import subprocess
import sys
import time

import ansible_runner


def sleeping():
    out = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in out.splitlines() if line.split()[1:] == ["sleep", "4711"]]


run = ansible_runner.run(
    private_data_dir=sys.argv[1], playbook="site.yml", quiet=True, cancel_callback=lambda: bool(sleeping())
)
print("status:", run.status)
time.sleep(2)
left = sleeping()
print("still running: sleep 4711" if left else "nothing is left running")
for pid in left:
    os.kill(pid, 9)
sys.exit(0 if run.status == "canceled" and left else 1)
PYTHON
PATH="$work/venv/bin:$PATH" "$work/venv/bin/python" "$work/cancel.py" "$work/data"
