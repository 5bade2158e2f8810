#!/usr/bin/env bash
# OPA: between -1 and 0, `ceil` gives 1 and `floor` gives 0: both are one too many.
#
# Version: github.com/open-policy-agent/opa v1.22.4 (built with Go), bare `opa eval`.
# Behaviour: the ceiling of -0.5 is 0 and its floor is -1. OPA answers 1 and 0. Further from zero both are right (-1.5 gives
# -1 and -2), and so they are for numbers above zero (0.5 gives 1 and 0). A policy that rounds a small decrease, such as a
# change of costs of -0.5, up to whole units sees an increase of one.
# Seen: "ceil: 1 -1 1", "floor: 0 -2 0" (for -0.5, -1.5, 0.5). Exits 1 if the values for -0.5 change.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
command -v go >/dev/null || { echo "needs go" >&2; exit 2; }
GOBIN="$work" go install github.com/open-policy-agent/opa@v1.22.4
ask() { for number in -0.5 -1.5 0.5; do printf ' %s' "$("$work/opa" eval --format raw "$1($number)")"; done; }
ceilings=$(ask ceil)
floors=$(ask floor)
echo "ceil:$ceilings"
echo "floor:$floors"
[ "$ceilings" = " 1 -1 1" ] && [ "$floors" = " 0 -2 0" ]
