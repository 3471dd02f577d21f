{{/* What the schema cannot see: one sentence that names the value. */}}
{{- define "hookbus.checks" -}}
{{- include "hookbus.checkNeeded" . -}}
{{- include "hookbus.checkKafka" . -}}
{{- include "hookbus.checkTopics" . -}}
{{- range $role := include "hookbus.workloads" $ | fromJsonArray -}}
{{- $values := include "hookbus.role" (dict "root" $ "role" $role) | fromJson -}}
{{- include "hookbus.checkRole" (dict "root" $ "role" $role "values" $values) -}}
{{- end -}}
{{- include "hookbus.checkScaling" . -}}
{{- include "hookbus.checkRoutes" . -}}
{{- end -}}

{{- define "hookbus.checkNeeded" -}}
{{- if not .Values.image.repository -}}
{{- fail "image.repository: name where your build of the image lies" -}}
{{- end -}}
{{- if not .Values.keys.existingSecret -}}
{{- fail (printf "keys.existingSecret: name the Secret with the encryption keys and the lookup key; this makes one: kubectl create secret generic hookbus-keys --namespace %s --from-literal=%s=\"k1:$(openssl rand -base64 32)\" --from-literal=%s=\"$(openssl rand -base64 32)\"" .Release.Namespace .Values.keys.encryptionKeys .Values.keys.lookupKey) -}}
{{- end -}}
{{- if not .Values.control.existingSecret -}}
{{- fail (printf "control.existingSecret: name the Secret with the admin key, without which nobody can make the first application; this makes one: kubectl create secret generic hookbus-admin --namespace %s --from-literal=%s=\"$(openssl rand -hex 24)\"" .Release.Namespace .Values.control.adminKey) -}}
{{- end -}}
{{- if and .Values.sources.enabled (not (dig "sources" "enabled" true .Values.config)) -}}
{{- fail "sources.enabled: config.sources.enabled is false, so its pods would have nothing to read; set one of the two" -}}
{{- end -}}
{{- if gt (len .Values.slot.prefix) 10 -}}
{{- fail (printf "slot.prefix: %s has %d characters, at most 10: it is part of transactional ids" .Values.slot.prefix (len .Values.slot.prefix)) -}}
{{- end -}}
{{- end -}}

{{- define "hookbus.checkKafka" -}}
{{- if not .Values.config.kafka.brokers -}}
{{- fail "config.kafka.brokers: name your brokers, host:port, separated by commas" -}}
{{- end -}}
{{- range splitList "," .Values.config.kafka.brokers -}}
{{- if not (regexMatch "^.+:[0-9]+$" (trim .)) -}}
{{- fail (printf "config.kafka.brokers: %s is not host:port" (trim .)) -}}
{{- end -}}
{{- end -}}
{{- range $property, $_ := default dict .Values.config.kafka.properties -}}
{{- if regexMatch "password|secret|passphrase|key.pem|private.key|oauthbearer.config|jaas" $property -}}
{{- fail (printf "config.kafka.properties.%s: secrets do not belong into values: use kafka.sasl.existingSecret or kafka.tls.clientSecret" $property) -}}
{{- end -}}
{{- end -}}
{{- $principals := dict "operator" .Values.operator.kafka "podDefaults" .Values.podDefaults.kafka -}}
{{- range $role := include "hookbus.workloads" $ | fromJsonArray -}}
{{- $_ := set $principals $role (include "hookbus.role" (dict "root" $ "role" $role) | fromJson).kafka -}}
{{- end -}}
{{- range $name, $own := $principals -}}
{{- $role := has $name (list "operator" "podDefaults") | ternary "" $name -}}
{{- $kafka := include "hookbus.kafka" (dict "root" $ "role" $role "own" $own) | fromJson -}}
{{- if and $kafka.sasl.mechanism (not $kafka.sasl.existingSecret) -}}
{{- fail (printf "kafka.sasl.existingSecret: kafka.sasl.mechanism is %s, so name the Secret with user name and password (or set %s.kafka.sasl.existingSecret)" $kafka.sasl.mechanism $name) -}}
{{- end -}}
{{- if and (or $kafka.tls.caSecret $kafka.tls.clientSecret) (not $kafka.tls.enabled) -}}
{{- fail "kafka.tls.enabled: is false, but kafka.tls names a Secret: nothing would be encrypted" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "hookbus.checkTopics" -}}
{{- $topics := .Values.config.topics -}}
{{- if gt (len $topics.prefix) 20 -}}
{{- fail (printf "config.topics.prefix: %s has %d characters, at most 20: it is part of transactional ids" $topics.prefix (len $topics.prefix)) -}}
{{- end -}}
{{- $factor := int $topics.replication_factor -}}
{{- if and (eq $factor 1) (not .Values.topics.allowSingleReplica) -}}
{{- fail "config.topics.replication_factor: 1 loses a topic with its broker; set 3, or topics.allowSingleReplica if that is fine here" -}}
{{- end -}}
{{- if and (gt $factor 1) (ge (int $topics.min_insync_replicas) $factor) -}}
{{- fail (printf "config.topics.min_insync_replicas: %d of %d replicas, so that one broker away stops all writes; set at most %d" (int $topics.min_insync_replicas) $factor (sub $factor 1)) -}}
{{- end -}}
{{- end -}}

{{- define "hookbus.checkRole" -}}
{{- $topic := get (dict "fanout" "events" "delivery" "deliveries" "retry" "retry") .role -}}
{{- if $topic -}}
{{- $partitions := int (get .root.Values.config.topics.partitions $topic) -}}
{{- $most := include "hookbus.maxReplicas" .values | int -}}
{{- if gt $most $partitions -}}
{{- fail (printf "%s.%s: %d pods share the %d partitions of %s, so the rest would be idle; set at most %d (config.topics.partitions.%s counts at creation alone)" .role (include "hookbus.isScaled" .values | empty | ternary "replicas" "autoscaling.keda.maxReplicas") $most $partitions $topic $partitions $topic) -}}
{{- end -}}
{{- end -}}
{{- $needed := include "hookbus.neededGrace" . | int -}}
{{- with .values.terminationGracePeriodSeconds -}}
{{- if lt (int .) $needed -}}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d s is less than delay + grace + 10 s, which is %d s; leave it out and it is computed" $.role (int .) $needed) -}}
{{- end -}}
{{- end -}}
{{- $sum := include "hookbus.memorySum" . | int64 -}}
{{- $limit := include "hookbus.bytes" (include "hookbus.memoryLimit" .) | int64 -}}
{{- if lt $limit $sum -}}
{{- fail (printf "%s.resources.limits.memory: %s is less than the %d MiB that the configured bounds add up to (%s); raise it or lower those" .role (include "hookbus.memoryLimit" .) (div $sum 1048576) (include "hookbus.memoryLargest" .)) -}}
{{- end -}}
{{- end -}}

{{- define "hookbus.checkScaling" -}}
{{- range $role := list "fanout" "delivery" -}}
{{- if dig "autoscaling" "keda" "enabled" false (get $.Values $role) -}}
{{- if not ($.Capabilities.APIVersions.Has "keda.sh/v1alpha1") -}}
{{- fail (printf "%s.autoscaling.keda.enabled: this cluster has no KEDA (keda.sh/v1alpha1); install it, or leave %s.replicas fixed" $role $role) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $delivery := .Values.delivery.autoscaling.keda -}}
{{- if and $delivery.enabled (not $delivery.serverAddress) -}}
{{- fail "delivery.autoscaling.keda.serverAddress: name the address of Prometheus, which knows the requests in flight" -}}
{{- end -}}
{{- end -}}

{{- define "hookbus.checkRoutes" -}}
{{- if and .Values.ingress.enabled .Values.httpRoute.enabled -}}
{{- fail "ingress.enabled: httpRoute.enabled is set too, and one of the two is enough" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: name at least one host" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs: name the Gateway that the route belongs to" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled .Values.config.delivery.allow_hosts (not .Values.networkPolicy.endpoints) (not .Values.config.delivery.allow_networks) -}}
{{- fail "networkPolicy.endpoints: config.delivery.allow_hosts names hosts in private networks, which the NetworkPolicy keeps delivery workers from: name those networks or pods, or set networkPolicy.enabled: false" -}}
{{- end -}}
{{- if and .Values.strimzi.users.enabled (not .Values.strimzi.cluster) -}}
{{- fail "strimzi.cluster: name the Kafka resource that the users of strimzi.users belong to" -}}
{{- end -}}
{{- if not (has .Values.topics.manage (list "job" "none")) -}}
{{- fail (printf "topics.manage: %s is neither job nor none" .Values.topics.manage) -}}
{{- end -}}
{{- end -}}
