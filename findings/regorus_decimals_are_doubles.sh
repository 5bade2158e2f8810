#!/usr/bin/env bash
# regorus: sums and products of decimal fractions are those of doubles; OPA's are those of the decimals.
#
# Versions: gordon-to-regorus 0.13.0 (Python's binding of regorus), Python 3.11; OPA v1.22.4 (built with Go) beside it.
# Behaviour: `0.1 + 0.2 == 0.3` is true in OPA, which computes with a longer mantissa and writes the shortest decimal; in
# regorus it is false, and `19.99 * 100` is 1998.9999999999998 and not 1999. A policy on prices or shares that was tested
# with one of them decides otherwise with the other, without an error.
# Seen: "0.1 + 0.2 == 0.3: OPA true, regorus false", "19.99 * 100: OPA 1999, regorus 1998.9999999999998". Exits 1 if the two
# agree.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
command -v go >/dev/null || { echo "needs go" >&2; exit 2; }
GOBIN="$work" go install github.com/open-policy-agent/opa@v1.22.4
python3.11 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check gordon-to-regorus==0.13.0
cat > "$work/ask.py" <<'PYTHON'
import json
import sys

import regorus

answer = json.loads(regorus.Engine().eval_query_as_json(sys.argv[1]))
print(json.dumps(answer["result"][0]["expressions"][0]["value"]))
PYTHON
agreed=0
for term in "0.1 + 0.2 == 0.3" "19.99 * 100"; do
    opa=$("$work/opa" eval --format raw "$term")
    regorus=$("$work/venv/bin/python" "$work/ask.py" "$term")
    echo "$term: OPA $opa, regorus $regorus"
    [ "$opa" != "$regorus" ] || agreed=1
done
exit "$agreed"
