{{- define "bondstone.labels" -}}
app.kubernetes.io/name: bondstone
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* What chooses pods of a component; never to be changed, as a Deployment's selector cannot be. */}}
{{- define "bondstone.selector" -}}
app.kubernetes.io/name: bondstone
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "bondstone.name" -}}
{{ printf "%s-%s" .root.Release.Name .component | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The build of the control workers; empty when they have none. */}}
{{- define "bondstone.build" -}}
{{- if .Values.control.build.enabled }}
{{- $image := .Values.images.control }}
{{- $digest := regexFind "@sha256:[0-9a-f]{12}" $image | trimPrefix "@sha256:" }}
{{- $tag := regexFind ":[^:/@]+$" $image | trimPrefix ":" }}
{{- coalesce .Values.control.build.name $digest $tag | trunc 63 }}
{{- end }}
{{- end }}

{{- define "bondstone.controlName" -}}
{{- $build := include "bondstone.build" . | lower | replace "." "-" | replace "_" "-" }}
{{- $name := include "bondstone.name" (dict "root" . "component" "control") }}
{{- if $build }}{{ printf "%s-%s" $name $build | trunc 63 | trimSuffix "-" }}{{ else }}{{ $name }}{{ end }}
{{- end }}

{{- define "bondstone.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "bondstone.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* Key rings must be for their owner alone, and a mounted Secret is for the pod's group too: copied once, at start. */}}
{{- define "bondstone.keyring" -}}
- name: keyring
  image: {{ .image | quote }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  command: [python, -c]
  args:
    - |
      import os, pathlib
      for name in {{ .files | toJson }}:
          handle = os.open(f"/keys/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
          os.write(handle, pathlib.Path("/mounted", name).read_bytes())
          os.close(handle)
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 128Mi}
  {{- include "bondstone.containerSecurity" .root | nindent 2 }}
  volumeMounts:
    - {name: mounted, mountPath: /mounted, readOnly: true}
    - {name: keys, mountPath: /keys}
{{- end }}

{{- define "bondstone.keyVolumes" -}}
- name: mounted
  secret: {secretName: {{ .Values.keys.secret | quote }}, defaultMode: 0440}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}

{{- define "bondstone.keyFiles" -}}
{{- if .Values.payloads.encrypt }}["keys.json", "payload-keys.json"]{{ else }}["keys.json"]{{ end }}
{{- end }}

{{- /* Control workers also sign permits: the ring for that comes from a Secret of its own, which executors never see. */}}
{{- define "bondstone.controlKeyFiles" -}}
{{- $files := include "bondstone.keyFiles" . | fromJsonArray }}
{{- if eq .Values.attestation "required" }}{{ append $files "permit-keys.json" | toJson }}{{ else }}{{ $files | toJson }}{{ end }}
{{- end }}

{{- define "bondstone.controlKeyVolumes" -}}
- name: mounted
  projected:
    defaultMode: 0440
    sources:
      - secret: {name: {{ .Values.keys.secret | quote }}}
      {{- if eq .Values.attestation "required" }}
      - secret:
          name: {{ required "signing.secret names the Secret with permit-keys.json; or set attestation: local" .Values.signing.secret | quote }}
          items: [{key: permit-keys.json, path: permit-keys.json}]
      {{- end }}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}

{{- /* API processes sign who asked, and never permits. */}}
{{- define "bondstone.apiKeyFiles" -}}
{{- $files := include "bondstone.keyFiles" . | fromJsonArray }}
{{- if eq .Values.attestation "required" }}{{ append $files "attestation-keys.json" | toJson }}{{ else }}{{ $files | toJson }}{{ end }}
{{- end }}

{{- define "bondstone.apiKeyVolumes" -}}
- name: mounted
  projected:
    defaultMode: 0440
    sources:
      - secret: {name: {{ .Values.keys.secret | quote }}}
      {{- if eq .Values.attestation "required" }}
      - secret:
          name: {{ required "signing.secret names the Secret with attestation-keys.json; or set attestation: local" .Values.signing.secret | quote }}
          items: [{key: attestation-keys.json, path: attestation-keys.json}]
      {{- end }}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: tmp
  emptyDir: {sizeLimit: 1Gi}
{{- end }}

{{- /* Every pool that some Deployment serves, as JSON. */}}
{{- define "bondstone.poolNames" -}}
{{- $names := list }}
{{- range $name, $pool := .Values.pools }}
{{- $names = concat $names (default (list $name) $pool.serves) }}
{{- end }}
{{- $names | uniq | toJson }}
{{- end }}

{{- define "bondstone.environment" -}}
- {name: BOND_ATTESTATION, value: {{ .Values.attestation | quote }}}
- {name: BOND_TEMPORAL_ADDRESS, value: {{ .Values.temporal.address | quote }}}
- {name: BOND_TEMPORAL_NAMESPACE, value: {{ .Values.temporal.namespace | quote }}}
- {name: BOND_TEMPORAL_UI, value: {{ .Values.temporal.ui | quote }}}
- {name: BOND_STORE, value: {{ .Values.store.url | quote }}}
- {name: BOND_KEYS, value: /keys/keys.json}
{{- if .Values.payloads.encrypt }}
- {name: BOND_PAYLOAD_KEYS, value: /keys/payload-keys.json}
{{- end }}
- {name: BOND_HEALTH_FILE, value: /tmp/bondstone-health}
- {name: BOND_LOG_FORMAT, value: json}
- {name: BOND_LOG_LEVEL, value: {{ .Values.logLevel | quote }}}
{{- if .Values.metrics.enabled }}
- {name: BOND_METRICS_BIND, value: "0.0.0.0:{{ .Values.metrics.port }}"}
{{- end }}
{{- with .Values.tracing.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .Values.tracing.environment }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "bondstone.probes" -}}
# Slow to start: a worker waits for Temporal for a minute before it gives up.
startupProbe:
  exec: {command: [python, -m, bondstone.workers.health]}
  periodSeconds: 5
  failureThreshold: 24
  timeoutSeconds: 5
readinessProbe:
  exec: {command: [python, -m, bondstone.workers.health]}
  periodSeconds: 15
  timeoutSeconds: 5
livenessProbe:
  exec: {command: [python, -m, bondstone.workers.health]}
  periodSeconds: 30
  failureThreshold: 4
  timeoutSeconds: 5
{{- end }}
