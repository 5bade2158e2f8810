#!/usr/bin/env bash
# kustomize's YAML library reads a manifest and writes it again: an empty value in braces comes out as an empty text.
#
# Versions: sigs.k8s.io/kustomize/kyaml 0.21.2 (kustomize, and Helm 4.3 around each post-renderer),
# sigs.k8s.io/yaml 1.6.0 (what kubectl, Helm and operators read manifests with).
# Guess: the library is made to change manifests and keep the rest as it is, so null stays null.
# Seen: of `name:` on a line of its own null stays null; of `{name: }` it becomes ''. The API server then refuses
# `annotations: ''`, and a custom resource's nullable field is set.
set -euo pipefail
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
export GOFLAGS=-mod=mod GOMODCACHE="$folder/modules"
cat > go.mod <<'MOD'
module finding

go 1.24

require (
	sigs.k8s.io/kustomize/kyaml v0.21.2
	sigs.k8s.io/yaml v1.6.0
)
MOD
cat > main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/kyaml/kio"
	"sigs.k8s.io/yaml"
)

func json(text string) string {
	result, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		panic(err)
	}
	return string(result)
}

func main() {
	text, err := os.ReadFile("service.yaml")
	if err != nil {
		panic(err)
	}
	nodes, err := kio.ParseAll(string(text))
	if err != nil {
		panic(err)
	}
	again, err := kio.StringAll(nodes)
	if err != nil {
		panic(err)
	}
	fmt.Println("as written:      ", json(string(text)))
	fmt.Println("read and written:", json(again))
}
GO
cat > service.yaml <<'YAML'
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP:
  ports: [{port: 80, name: }]
YAML
output=$(go run . 2> go.log) || { cat go.log >&2; exit 1; }
echo "$output"
[ "$output" = 'as written:       {"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":null,"ports":[{"name":null,"port":80}]}}
read and written: {"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"clusterIP":null,"ports":[{"name":"","port":80}]}}' ]
