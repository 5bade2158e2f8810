#!/usr/bin/env bash
# A plain 22:00 in a manifest is a text to Kubernetes' tools and the number 1320 to PyYAML.
#
# Versions: sigs.k8s.io/yaml 1.6.0 (what kubectl, Helm and operators read manifests with), PyYAML 6.0.2.
# Guess: both say YAML 1.1, so both read a manifest alike.
# Seen: sigs.k8s.io/yaml follows neither 1.1 nor 1.2 for plain scalars. It has no numbers to the base 60, it reads
# 1e3, 08 and 0o14 as numbers and y as true; PyYAML reads 22:00 as 1320, and 1e3, 08, 0o14 and y as texts.
set -euo pipefail
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
export GOFLAGS=-mod=mod GOMODCACHE="$folder/modules"
cat > go.mod <<'MOD'
module finding

go 1.24

require sigs.k8s.io/yaml v1.6.0
MOD
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	text, err := os.ReadFile("values.yaml")
	if err != nil {
		panic(err)
	}
	json, err := yaml.YAMLToJSON(text)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(json))
}
GO
echo '{at: 22:00, exponent: 1e3, leading: 08, octal: 0o14, short: y}' > values.yaml
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check PyYAML==6.0.2
kubernetes=$(go run . 2> go.log) || { cat go.log >&2; exit 1; }
python=$(env/bin/python -c 'import json, yaml; print(json.dumps(yaml.safe_load(open("values.yaml")), separators=(",", ":")))')
echo "sigs.k8s.io/yaml: $kubernetes"
echo "PyYAML:           $python"
[ "$kubernetes" = '{"at":"22:00","exponent":1000,"leading":8,"octal":12,"short":true}' ]
[ "$python" = '{"at":1320,"exponent":"1e3","leading":"08","octal":"0o14","short":"y"}' ]
