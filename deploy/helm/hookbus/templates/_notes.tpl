{{/* What is said after an install. */}}
{{- define "hookbus.notes" -}}
{{- $name := include "hookbus.fullname" . -}}
{{- $in := printf "--namespace %s" .Release.Namespace -}}
Hookbus {{ .Chart.AppVersion }} runs as {{ $name }}.

Where to send events (inside the cluster):
  http{{ if .Values.gateway.tls.existingSecret }}s{{ end }}://{{ $name }}-gateway.{{ .Release.Namespace }}:{{ int .Values.gateway.service.port }}/api/v1/event
Where to manage:
  http{{ if .Values.control.tls.existingSecret }}s{{ end }}://{{ $name }}-control.{{ .Release.Namespace }}:{{ int .Values.control.service.port }}

The first application (its token is printed), and the first subscription:
  kubectl {{ $in }} port-forward service/{{ $name }}-control 8081:{{ int .Values.control.service.port }} &
  export HOOKBUS_URL=http{{ if .Values.control.tls.existingSecret }}s{{ end }}://127.0.0.1:8081
  export HOOKBUS_TOKEN=$(kubectl {{ $in }} get secret {{ .Values.control.existingSecret }} --output jsonpath='{.data.{{ .Values.control.adminKey | replace "." "\\." }}}' | base64 --decode)
  hookbus application create Shop --uid shop
  hookbus event-type create invoice.paid --application shop
  hookbus subscription create https://example.com/hooks --application shop --event-type invoice.paid

Metrics are at /metrics on port 9090 of every pod{{ if .Values.serviceMonitor.enabled }}, and the ServiceMonitor {{ $name }} reads them{{ else }}; serviceMonitor.enabled has Prometheus' operator read them{{ end }}.
{{- if and (include "hookbus.forwardTo" .) (not (dig "control" "trusted_proxies" "" .Values.config)) }}
What comes through the gateway has a gateway's address in the audit: config.control.trusted_proxies (the pods' network) has it name who called.
{{- end }}
{{- if not .Values.alerts.enabled }}
Nobody is told when something is wrong: alerts.enabled brings the rules.
{{- end }}
{{- if not .Values.kafka.tls.enabled }}
Kafka is reached without TLS (kafka.tls.enabled).
{{- end }}
{{- if ne .Values.topics.manage "job" }}
Topics are yours to create: `hookbus topics ensure` with the same configuration, before the roles can begin.
{{- end }}
{{- end -}}
