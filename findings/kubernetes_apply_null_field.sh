#!/usr/bin/env bash
# Kubernetes drops a null of a custom resource that may not be null where it is posted or patched, and refuses the same
# manifest by server-side apply.
#
# Versions: kube-apiserver 1.37.2 and etcd on PATH (`make tools` builds both), curl, openssl, Python 3.11 to read JSON.
# Documented (custom resources, "Defaulting and Nullable"): with apiextensions.k8s.io/v1 "null values for fields that either
# don't have the nullable flag, or specify it as false, will be pruned before defaulting happens".
# Seen: POST and merge patch prune the null. Server-side apply (kubectl apply --server-side, Helm 4's --server-side=true)
# answers 422, "spec.size in body must be of type integer: "null"". Exits 1 otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
free() { python3.11 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
store=$(free); peer=$(free); port=$(free)
openssl genrsa -out "$folder/key.pem" 2048 2>/dev/null
echo 'secret,admin,admin,"system:masters"' > "$folder/tokens.csv"
etcd --data-dir "$folder/etcd" --listen-client-urls "http://127.0.0.1:$store" --advertise-client-urls \
    "http://127.0.0.1:$store" --listen-peer-urls "http://127.0.0.1:$peer" >"$folder/etcd.log" 2>&1 &
kube-apiserver --etcd-servers "http://127.0.0.1:$store" --secure-port "$port" --bind-address 127.0.0.1 \
    --cert-dir "$folder/certs" --token-auth-file "$folder/tokens.csv" --authorization-mode AlwaysAllow \
    --service-account-issuer https://finding --service-account-key-file "$folder/key.pem" \
    --service-account-signing-key-file "$folder/key.pem" --service-cluster-ip-range 10.0.0.0/24 \
    >"$folder/apiserver.log" 2>&1 &
call() {  # METHOD PATH TYPE BODY
    curl --silent --insecure --header "Authorization: Bearer secret" --request "$1" --header "Content-Type: $3" \
        --data "$4" "https://127.0.0.1:$port$2"
}
for _ in $(seq 240); do [ "$(call GET /readyz text/plain '' || true)" = ok ] && break; sleep 0.5; done
definition='{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
 "metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Cluster",
 "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
 "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
 "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}}'
call POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions application/json "$definition" >/dev/null
widgets=/apis/example.com/v1/widgets
for _ in $(seq 240); do call GET "$widgets" application/json '' | grep -q WidgetList && break; sleep 0.5; done
widget() { echo '{"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "'"$1"'"}, "spec": {"size": null}}'; }
said() { python3.11 -c 'import json, sys; it = json.load(sys.stdin); print(it.get("spec", it.get("message")))'; }
posted=$(call POST "$widgets" application/json "$(widget posted)" | said)
patched=$(call PATCH "$widgets/posted" application/merge-patch+json '{"spec": {"size": null}}' | said)
applied=$(call PATCH "$widgets/applied?fieldManager=it" application/apply-patch+yaml "$(widget applied)" | said)
printf 'POST:              spec = %s\nmerge patch:       spec = %s\nserver-side apply: %s\n' "$posted" "$patched" "$applied"
[ "$posted" = "{}" ] && [ "$patched" = "{}" ]
case "$applied" in *'must be of type integer: "null"'*) ;; *) exit 1 ;; esac
