{{/* A name of at most `limit` characters: what is longer keeps its head and a hash of the whole, so that two stay two. */}}
{{- define "hookbus.cut" -}}
{{- $limit := int .limit -}}
{{- if le (len .name) $limit -}}
{{- .name -}}
{{- else -}}
{{- printf "%s-%s" (.name | trunc (int (sub $limit 9)) | trimSuffix "-") (sha256sum .name | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* 40, because a StatefulSet's name and a pod's suffix must fit into a label. */}}
{{- define "hookbus.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $own := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- include "hookbus.cut" (dict "name" (default $own .Values.fullnameOverride) "limit" 40) -}}
{{- end -}}

{{- define "hookbus.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "hookbus.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ include "hookbus.cut" (dict "name" .root.Release.Name "limit" 63) }}
{{- with .role }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{- define "hookbus.labels" -}}
{{ include "hookbus.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: hookbus
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "hookbus.metadata" -}}
name: {{ include "hookbus.fullname" .root }}{{ with .role }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "hookbus.labels" . | nindent 2 }}
{{- end -}}

{{/* What has pods of its own: the roles, and the fan-out's intake of sources where that has, as JSON. */}}
{{- define "hookbus.workloads" -}}
{{- $sources := .Values.sources.enabled | ternary (list "sources") list -}}
{{- concat (list "gateway" "fanout") $sources (list "delivery" "retry" "control") | toJson -}}
{{- end -}}

{{/* What the pods of a workload run, as JSON. */}}
{{- define "hookbus.args" -}}
{{- if eq .role "sources" -}}
{{- list "fanout" "--only" "sources" | toJson -}}
{{- else if and (eq .role "fanout") .root.Values.sources.enabled -}}
{{- list "fanout" "--only" "events" | toJson -}}
{{- else -}}
{{- list .role | toJson -}}
{{- end -}}
{{- end -}}

{{/* The values of a role over those of all roles, as JSON. */}}
{{- define "hookbus.role" -}}
{{- mergeOverwrite (deepCopy .root.Values.podDefaults) (deepCopy (get .root.Values .role)) | toJson -}}
{{- end -}}

{{/* Whether something else sets the number of pods of a role. */}}
{{- define "hookbus.isScaled" -}}
{{- $scaling := default dict .autoscaling -}}
{{- if or (dig "hpa" "enabled" false $scaling) (dig "keda" "enabled" false $scaling) -}}true{{- end -}}
{{- end -}}

{{/* The most pods a role may have. */}}
{{- define "hookbus.maxReplicas" -}}
{{- $scaling := default dict .autoscaling -}}
{{- if dig "hpa" "enabled" false $scaling -}}{{ int $scaling.hpa.maxReplicas }}
{{- else if dig "keda" "enabled" false $scaling -}}{{ int $scaling.keda.maxReplicas }}
{{- else -}}{{ int .replicas }}{{- end -}}
{{- end -}}

{{/* `hookbus.` is the prefix, `hookbus` begins groups and transactional ids. */}}
{{- define "hookbus.installation" -}}
{{- default "hookbus" (regexReplaceAll "[._-]+$" .Values.config.topics.prefix "") -}}
{{- end -}}

{{/* Seconds from SIGTERM to SIGKILL that a role needs: delay, grace, and ten for its last words. */}}
{{- define "hookbus.neededGrace" -}}
{{- $ms := add (int64 (default 0 .values.shutdownDelayMs)) (int64 .root.Values.config.shutdown.grace_ms) -}}
{{- add (div (add $ms 999) 1000) 10 -}}
{{- end -}}

{{/* Where gateways pass on what is no event route; nothing: nowhere. */}}
{{- define "hookbus.forwardTo" -}}
{{- if ne .Values.gateway.forwardTo "auto" -}}
{{- .Values.gateway.forwardTo -}}
{{- else if not .Values.control.tls.existingSecret -}}
{{- printf "http://%s-control:%d" (include "hookbus.fullname" .) (int .Values.control.service.port) -}}
{{- end -}}
{{- end -}}

{{/* The ports of the brokers' addresses, and those that are named beside them. */}}
{{- define "hookbus.kafkaPorts" -}}
{{- $ports := list -}}
{{- range splitList "," .Values.config.kafka.brokers -}}
{{- $ports = append $ports (int (regexFind "[0-9]+$" (trim .))) -}}
{{- end -}}
{{- range .Values.networkPolicy.kafkaPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}
