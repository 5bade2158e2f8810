#!/usr/bin/env bash
# ansible-core: in check mode a task with `async` and `poll: 0` is reported as changed although nothing was done.
#
# Version: ansible-core 2.19.14, Python 3.11, Linux.
# Behaviour: the line that `lineinfile` would add is there already. Without `async`, `--check` says ok and `changed=0`. With
# `async: 30` and `poll: 0` it says changed, and hands out a job id, while the file stays as it is: who takes the
# count of a check for drift sees drift for ever.
# Seen: "plain: changed=0", "async: changed=1", "the file is the same". Exits 1 if async says 0, or the file changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ansible-core==2.19.14
for kind in plain async; do
    {
        echo "- hosts: localhost"
        echo "  gather_facts: false"
        echo "  tasks:"
        echo "    - ansible.builtin.lineinfile: {path: $work/file, line: same}"
        [ "$kind" = plain ] || printf '      async: 30\n      poll: 0\n'
    } > "$work/$kind.yml"
done
echo same > "$work/file"
run() {
    ANSIBLE_HOME="$work/home" ANSIBLE_LOCALHOST_WARNING=0 ANSIBLE_INVENTORY_UNPARSED_WARNING=0 \
        "$work/venv/bin/ansible-playbook" -i localhost, -c local -e "ansible_python_interpreter=$work/venv/bin/python" \
        --check "$work/$1.yml" | grep -o 'changed=[0-9]*' | tail -1
}
plain=$(run plain)
async=$(run async)
echo "plain: $plain"
echo "async: $async"
[ "$(cat "$work/file")" = same ] && echo "the file is the same"
[ "$plain" = changed=0 ] && [ "$async" = changed=1 ] && [ "$(cat "$work/file")" = same ]
