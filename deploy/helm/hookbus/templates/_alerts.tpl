{{/* The alerts of files/alerts.yaml with what values say of them. A threshold is the number before the comment `# threshold`. */}}
{{- define "hookbus.alerts" -}}
{{- $own := .Values.alerts.rules -}}
{{- $known := list -}}
{{- $file := .Files.Get "files/alerts.yaml" | fromYaml -}}
groups:
{{- range $file.groups }}
  - name: {{ .name }}
    rules:
    {{- range .rules }}
    {{- $known = append $known .alert }}
    {{- $rule := default dict (get $own .alert) }}
    {{- if ne (toString (default "true" (get $rule "enabled" | toString))) "false" }}
    {{- $expr := .expr }}
    {{- if hasKey $rule "threshold" }}
    {{- if not (contains "# threshold" $expr) }}
    {{- fail (printf "alerts.rules.%s.threshold: this alert has none: one is too many" .alert) }}
    {{- end }}
    {{- $expr = regexReplaceAll "[0-9.]+([ ]+# threshold)" $expr (printf "%v${1}" $rule.threshold) }}
    {{- end }}
    {{- $labels := merge (hasKey $rule "severity" | ternary (dict "severity" $rule.severity) dict) .labels }}
    {{- $annotations := deepCopy .annotations }}
    {{- with $.Values.alerts.runbookUrl }}
    {{- $_ := set $annotations "runbook_url" (printf "%s/%s" (trimSuffix "/" .) (base $annotations.runbook_url)) }}
    {{- end }}
      - alert: {{ .alert }}
        expr: {{ $expr | quote }}
        {{- with default .for $rule.for }}
        for: {{ . }}
        {{- end }}
        labels: {{- toYaml $labels | nindent 10 }}
        annotations: {{- toYaml $annotations | nindent 10 }}
    {{- end }}
    {{- end }}
{{- end }}
{{- range $name, $_ := $own }}
{{- if not (has $name $known) }}
{{- fail (printf "alerts.rules.%s: there is no such alert; there are %s" $name (join ", " $known)) }}
{{- end }}
{{- end }}
{{- end -}}
