{{/* The pod of a role: { root, role, values }. */}}
{{- define "hookbus.podTemplate" -}}
{{- $kafka := dict "root" .root "role" .role "own" .values.kafka -}}
{{- $secrets := include "hookbus.kafkaSecrets" $kafka | fromJson -}}
{{- if ne .role "retry" -}}
{{- $items := dict "encryption-keys" .root.Values.keys.encryptionKeys "lookup-key" .root.Values.keys.lookupKey -}}
{{- $_ := set $secrets "keys" (dict "secret" .root.Values.keys.existingSecret "items" $items) -}}
{{- end -}}
{{- if and (eq .role "control") .values.existingSecret -}}
{{- $_ := set $secrets "admin" (dict "secret" .values.existingSecret "items" (dict "admin-key" .values.adminKey)) -}}
{{- end -}}
{{- $tls := dig "tls" "existingSecret" "" .values -}}
{{- if $tls -}}
{{- $items := dict "tls.crt" .values.tls.certificateKey "tls.key" .values.tls.privateKeyKey -}}
{{- $_ := set $secrets "tls" (dict "secret" $tls "items" $items) -}}
{{- end -}}
{{- $port := get (dict "gateway" 8080 "control" 8081) .role -}}
metadata:
  labels: {{- include "hookbus.labels" . | nindent 4 }}
    {{- with .values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "hookbus.toml" .root | sha256sum }}
    {{- with .values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "hookbus.podCommon" . | nindent 2 }}
  serviceAccountName: {{ include "hookbus.fullname" .root }}
  terminationGracePeriodSeconds: {{ default (include "hookbus.neededGrace" . | int) .values.terminationGracePeriodSeconds }}
  topologySpreadConstraints:
  {{- if kindIs "slice" .values.topologySpreadConstraints }}
    {{- toYaml .values.topologySpreadConstraints | nindent 4 }}
  {{- else }}
  {{- $selector := include "hookbus.selector" . }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- $selector | nindent 10 }}
  {{- end }}
  {{- end }}
  containers:
    - name: hookbus
      image: {{ include "hookbus.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ include "hookbus.args" . }}
      env:
        - name: HOOKBUS_CONFIG
          value: /etc/hookbus/hookbus.toml
        {{- include "hookbus.slotEnv" . | nindent 8 }}
        {{- if .values.shutdownDelayMs }}
        - name: HOOKBUS__SHUTDOWN__DELAY_MS
          value: {{ int64 .values.shutdownDelayMs | quote }}
        {{- end }}
        {{- if eq .role "gateway" }}
        # Each enforces its part of a limit. Where something else sets the number of pods they count each other.
        - name: HOOKBUS__GATEWAY__REPLICAS
          value: {{ include "hookbus.isScaled" .values | empty | ternary (int .values.replicas) 0 | quote }}
        {{- end }}
        {{- if eq .role "gateway" }}
        {{- with include "hookbus.forwardTo" .root }}
        - name: HOOKBUS__GATEWAY__FORWARD_TO
          value: {{ . | quote }}
        {{- end }}
        {{- end }}
        {{- if hasKey $secrets "keys" }}
        - name: HOOKBUS__SECURITY__ENCRYPTION_KEYS_FILE
          value: /run/hookbus/keys/encryption-keys
        - name: HOOKBUS__SECURITY__LOOKUP_KEY_FILE
          value: /run/hookbus/keys/lookup-key
        {{- end }}
        {{- if hasKey $secrets "admin" }}
        - name: HOOKBUS__CONTROL__ADMIN_KEY_FILE
          value: /run/hookbus/admin/admin-key
        {{- end }}
        {{- if $tls }}
        - name: HOOKBUS__{{ upper .role }}__TLS_CERTIFICATE
          value: /run/hookbus/tls/tls.crt
        - name: HOOKBUS__{{ upper .role }}__TLS_KEY
          value: /run/hookbus/tls/tls.key
        {{- end }}
        {{- include "hookbus.kafkaEnv" $kafka | nindent 8 }}
        {{- with .values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        {{- with $port }}
        - { name: http, containerPort: {{ . }}, protocol: TCP }
        {{- end }}
        - { name: admin, containerPort: 9090, protocol: TCP }
      # Alive while the catalog loads and while Kafka is away: so there is nothing to wait for at the start.
      livenessProbe:
        httpGet: { path: /livez, port: admin }
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 3
      readinessProbe:
        httpGet: { path: /readyz, port: admin }
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- with .values.resources.requests }}
        requests: {{- toYaml . | nindent 10 }}
        {{- end }}
        limits:
          {{- with omit (default dict .values.resources.limits) "memory" }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
          memory: {{ include "hookbus.memoryLimit" . }}
      securityContext: {{- include "hookbus.containerSecurity" . | nindent 8 }}
      volumeMounts: {{- include "hookbus.mounts" (dict "secrets" $secrets) | nindent 8 }}
        {{- if eq (include "hookbus.keepsLog" .) "true" }}
        - { name: log, mountPath: {{ dig "log" "folder" "/var/lib/hookbus/log" .root.Values.config.control | quote }} }
        {{- end }}
  volumes: {{- include "hookbus.volumes" (dict "root" .root "secrets" $secrets "configMap" (include "hookbus.fullname" .root)) | nindent 4 }}
    {{- if eq (include "hookbus.keepsLog" .) "true" }}
    # An index over Kafka: made again where it is gone.
    - name: log
      emptyDir: { sizeLimit: {{ .values.logSize }} }
    {{- end }}
{{- end -}}

{{/* Whether a role keeps the delivery log in a folder of its own. */}}
{{- define "hookbus.keepsLog" -}}
{{- and (eq .role "control") (eq (dig "log" "store" "sqlite" .root.Values.config.control) "sqlite") -}}
{{- end -}}

{{/* The slot is the pod's name by itself: stable, so that a restart fences its predecessor. */}}
{{- define "hookbus.slotEnv" -}}
{{- if and .root.Values.slot.prefix (ne .role "gateway") -}}
- name: POD_INDEX
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
- name: HOOKBUS__KAFKA__SLOT
  value: "{{ .root.Values.slot.prefix }}-$(POD_INDEX)"
{{- end -}}
{{- end -}}

{{- define "hookbus.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with .root.Values.podSecurity.runAsUser }}
  runAsUser: {{ int64 . }}
  {{- end }}
  {{- with .root.Values.podSecurity.runAsGroup }}
  runAsGroup: {{ int64 . }}
  fsGroup: {{ int64 . }}
  {{- end }}
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "hookbus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* A pod that runs one command as the operator, and another one before it where there is one that has to end well:
     { root, args, before, configMap, restartPolicy, serviceAccount }. */}}
{{- define "hookbus.operatorPod" -}}
{{- $kafka := dict "root" .root "own" .root.Values.operator.kafka -}}
{{- $secrets := include "hookbus.kafkaSecrets" $kafka | fromJson -}}
{{- include "hookbus.podCommon" (dict "root" .root "values" .root.Values.podDefaults) }}
restartPolicy: {{ .restartPolicy }}
serviceAccountName: {{ .serviceAccount }}
{{- with .before }}
initContainers:
  {{- include "hookbus.operatorContainer" (dict "root" $.root "name" "doctor" "args" . "kafka" $kafka "secrets" $secrets) | nindent 2 }}
{{- end }}
containers:
  {{- include "hookbus.operatorContainer" (dict "root" .root "name" "hookbus" "args" .args "kafka" $kafka "secrets" $secrets) | nindent 2 }}
volumes: {{- include "hookbus.volumes" (dict "root" .root "secrets" $secrets "configMap" .configMap) | nindent 2 }}
{{- end -}}

{{- define "hookbus.operatorContainer" -}}
- name: {{ .name }}
  image: {{ include "hookbus.image" .root | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: {{ toJson .args }}
  env:
    - name: HOOKBUS_CONFIG
      value: /etc/hookbus/hookbus.toml
    {{- include "hookbus.kafkaEnv" .kafka | nindent 4 }}
  resources:
    requests: { cpu: 50m, memory: 64Mi }
    limits: { memory: 256Mi }
  securityContext: {{- include "hookbus.containerSecurity" . | nindent 4 }}
  volumeMounts: {{- include "hookbus.mounts" (dict "secrets" .secrets) | nindent 4 }}
{{- end -}}
