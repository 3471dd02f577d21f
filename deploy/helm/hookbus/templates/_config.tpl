{{/* hookbus.toml. JSON's texts, numbers, flags and lists of texts are TOML's; Helm's own `toToml` writes 8 as 8.0. */}}
{{- define "hookbus.toml" -}}
{{- range $section, $keys := .Values.config }}
{{- if $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ include "hookbus.tomlValue" $value }}
{{- end }}
{{- end }}
{{- range $table, $entries := $keys }}
{{- if kindIs "map" $entries }}

[{{ $section }}.{{ $table }}]
{{- range $key, $value := $entries }}
{{- if not (kindIs "invalid" $value) }}
{{ toJson $key }} = {{ include "hookbus.tomlValue" $value }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{ end }}
{{- end }}
{{- end -}}

{{- define "hookbus.tomlValue" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* How a principal reaches Kafka: its own values over those of its KafkaUser, if it has one, over those of all. As JSON. */}}
{{- define "hookbus.kafka" -}}
{{- $own := default dict .own -}}
{{- $kafka := deepCopy .root.Values.kafka -}}
{{- if and .role .root.Values.strimzi.users.enabled -}}
{{- $user := printf "%s-%s" (include "hookbus.fullname" .root) (eq .role "sources" | ternary "fanout" .role) -}}
{{- if eq .root.Values.strimzi.users.authentication "tls" -}}
{{- $_ := set $kafka "sasl" (dict "mechanism" "") -}}
{{- $_ := mergeOverwrite $kafka.tls (dict "enabled" true "clientSecret" $user "certificateKey" "user.crt" "privateKeyKey" "user.key") -}}
{{- else -}}
{{- $_ := set $kafka "sasl" (dict "mechanism" "SCRAM-SHA-512" "existingSecret" $user "username" $user "passwordKey" "password") -}}
{{- end -}}
{{- end -}}
{{- $_ := mergeOverwrite $kafka.sasl (default dict $own.sasl) -}}
{{- $_ := mergeOverwrite $kafka.tls (default dict $own.tls) -}}
{{- toJson $kafka -}}
{{- end -}}

{{/* Environment of a pod: what is secret comes from files. */}}
{{- define "hookbus.kafkaEnv" -}}
{{- $kafka := include "hookbus.kafka" . | fromJson -}}
{{- $property := "HOOKBUS__KAFKA__PROPERTIES__" -}}
{{- if or $kafka.sasl.mechanism $kafka.tls.enabled }}
- name: {{ $property }}SECURITY_PROTOCOL
  value: {{ $kafka.tls.enabled | ternary ($kafka.sasl.mechanism | empty | ternary "SSL" "SASL_SSL") "SASL_PLAINTEXT" }}
{{- end }}
{{- with $kafka.sasl.mechanism }}
- name: {{ $property }}SASL_MECHANISM
  value: {{ . }}
{{- if $kafka.sasl.username }}
- name: {{ $property }}SASL_USERNAME
  value: {{ $kafka.sasl.username | quote }}
{{- else }}
- name: {{ $property }}SASL_USERNAME_FILE
  value: /run/hookbus/kafka-sasl/username
{{- end }}
- name: {{ $property }}SASL_PASSWORD_FILE
  value: /run/hookbus/kafka-sasl/password
{{- end }}
{{- if and $kafka.tls.enabled $kafka.tls.caSecret }}
- name: {{ $property }}SSL_CA_LOCATION
  value: /run/hookbus/kafka-ca/ca.crt
{{- end }}
{{- if and $kafka.tls.enabled $kafka.tls.clientSecret }}
- name: {{ $property }}SSL_CERTIFICATE_LOCATION
  value: /run/hookbus/kafka-client/tls.crt
- name: {{ $property }}SSL_KEY_LOCATION
  value: /run/hookbus/kafka-client/tls.key
{{- end }}
{{- end -}}

{{/* Volumes as name: { secret, items: { file: key } }, as JSON; `hookbus.volumes` and `hookbus.mounts` write them out. */}}
{{- define "hookbus.kafkaSecrets" -}}
{{- $kafka := include "hookbus.kafka" . | fromJson -}}
{{- $found := dict -}}
{{- if $kafka.sasl.mechanism -}}
{{- $items := dict "password" $kafka.sasl.passwordKey -}}
{{- if not $kafka.sasl.username -}}
{{- $_ := set $items "username" $kafka.sasl.usernameKey -}}
{{- end -}}
{{- $_ := set $found "kafka-sasl" (dict "secret" $kafka.sasl.existingSecret "items" $items) -}}
{{- end -}}
{{- if and $kafka.tls.enabled $kafka.tls.caSecret -}}
{{- $_ := set $found "kafka-ca" (dict "secret" $kafka.tls.caSecret "items" (dict "ca.crt" $kafka.tls.caKey)) -}}
{{- end -}}
{{- if and $kafka.tls.enabled $kafka.tls.clientSecret -}}
{{- $items := dict "tls.crt" $kafka.tls.certificateKey "tls.key" $kafka.tls.privateKeyKey -}}
{{- $_ := set $found "kafka-client" (dict "secret" $kafka.tls.clientSecret "items" $items) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- define "hookbus.volumes" -}}
- name: config
  configMap: { name: {{ .configMap }} }
{{- range $name, $volume := .secrets }}
- name: {{ $name }}
  secret:
    secretName: {{ $volume.secret }}
    # Readable by the group alone where there is one: files belong to root.
    defaultMode: {{ $.root.Values.podSecurity.runAsGroup | empty | ternary "0444" "0440" }}
    items:
    {{- range $file, $key := $volume.items }}
    - { key: {{ $key | quote }}, path: {{ $file }} }
    {{- end }}
{{- end }}
{{- end -}}

{{- define "hookbus.mounts" -}}
- { name: config, mountPath: /etc/hookbus, readOnly: true }
{{- range $name, $volume := .secrets }}
- { name: {{ $name }}, mountPath: /run/hookbus/{{ $name }}, readOnly: true }
{{- end }}
{{- end -}}
