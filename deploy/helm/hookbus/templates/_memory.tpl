{{/* What a role may hold, by name, in bytes, as JSON: its configured bounds, and what a process has beside them. The numbers are those
     that the tests hold every process against (tests/src/ledger/memory.rs); there the catalog counts as what it holds, here as what
     it may. */}}
{{- define "hookbus.memoryParts" -}}
{{- $config := .root.Values.config -}}
{{- $mebi := 1048576 -}}
{{- $record := add 65536 (int64 $config.topics.payload_limit_bytes) -}}
{{- $parts := dict "the process itself" (mul 80 $mebi) -}}
{{- $brokers := max 3 (len (splitList "," $config.kafka.brokers)) -}}
{{- if ne .role "retry" -}}
{{- $_ := set $parts "config.control.instance_bytes" (int64 $config.control.instance_bytes) -}}
{{- end -}}
{{- $reads := "" -}}
{{- if eq .role "gateway" -}}
{{- $_ := set $parts "config.gateway.max_in_flight_bytes" (int64 $config.gateway.max_in_flight_bytes) -}}
{{- $_ := set $parts "config.gateway.queue_bytes" (int64 $config.gateway.queue_bytes) -}}
{{- $_ := set $parts "config.gateway.recent_ids x 64" (mul 64 (int64 $config.gateway.recent_ids)) -}}
{{- $each := add 16384 (int64 $config.gateway.header_limit_bytes) -}}
{{- $_ := set $parts (printf "config.gateway.max_connections x %d" $each) (mul $each (int64 $config.gateway.max_connections)) -}}
{{- else if has .role (list "fanout" "sources") -}}
{{- $_ := set $parts "config.fanout.dedup_ids x 33" (mul 33 (int64 $config.fanout.dedup_ids)) -}}
{{- if eq .role "fanout" -}}
{{- $reads = dict "partitions" $config.topics.partitions.events "records" $config.fanout.live_records "bytes" $config.fanout.live_bytes -}}
{{- $_ := set $parts "three of config.fanout.batch_bytes + slice_bytes" (mul 3 (add (int64 $config.fanout.batch_bytes) (int64 $config.fanout.slice_bytes))) -}}
{{- $_ := set $parts "subscriptions that wide events may be for" (mul 16 $mebi) -}}
{{- end -}}
{{- if dig "sources" "enabled" true $config -}}
{{- $_ := set $parts "schemas of registries (config.sources.schema_cache_bytes)" (int64 (dig "sources" "schema_cache_bytes" 268435456 $config)) -}}
{{- end -}}
{{- if and (dig "sources" "enabled" true $config) (or (eq .role "sources") (not .root.Values.sources.enabled)) -}}
{{- $_ := set $parts "subscriptions that wide events of sources may be for" (mul 16 $mebi) -}}
{{- $_ := set $parts "records of sources (config.sources.live_bytes)" (int64 (dig "sources" "live_bytes" 268435456 $config)) -}}
{{- $_ := set $parts "records of sources fetched ahead" (mul (add 32 (mul 16 $brokers)) $mebi) -}}
{{- $_ := set $parts "three of config.fanout.batch_bytes + slice_bytes, of sources" (mul 3 (add (int64 $config.fanout.batch_bytes) (int64 $config.fanout.slice_bytes))) -}}
{{- end -}}
{{- else if eq .role "delivery" -}}
{{- $reads = dict "partitions" $config.topics.partitions.deliveries "records" $config.delivery.live_records "bytes" $config.delivery.live_bytes -}}
{{- $_ := set $parts "config.delivery.in_flight_bytes" (int64 $config.delivery.in_flight_bytes) -}}
{{- $_ := set $parts "config.delivery.queue_bytes" (int64 $config.delivery.queue_bytes) -}}
{{- $_ := set $parts "config.delivery.queue_entries x 6" (mul 6 (int64 $config.delivery.queue_entries)) -}}
{{- $each := add 32768 (int64 $config.delivery.response_headers_limit_bytes) (int64 $config.delivery.response_body_limit_bytes) -}}
{{- $_ := set $parts (printf "config.delivery.concurrency x %d" $each) (mul $each (int64 $config.delivery.concurrency)) -}}
{{- $_ := set $parts "three of config.delivery.batch_bytes" (mul 3 (add $record (int64 $config.delivery.batch_bytes))) -}}
{{- else if eq .role "retry" -}}
{{- $lines := mul (int64 $config.topics.partitions.retry) (len $config.retry.tiers) -}}
{{- $reads = dict "partitions" $lines "records" 1000 "bytes" $config.retry.look_ahead_bytes -}}
{{- $_ := set $parts "three of config.retry.batch_bytes" (mul 3 (add $record (int64 $config.retry.batch_bytes))) -}}
{{- else if eq .role "control" -}}
{{- $each := add 32768 (int64 $config.control.request_limit_bytes) -}}
{{- $_ := set $parts (printf "config.control.max_connections x %d" $each) (mul $each (int64 $config.control.max_connections)) -}}
{{- $_ := set $parts "answers kept for repeated requests" (mul 128 $mebi) -}}
{{- if eq (dig "log" "store" "sqlite" $config.control) "sqlite" -}}
{{- $_ := set $parts "the delivery log: config.control.log.memory_bytes, and what it reads of Kafka" (add (int64 (dig "log" "memory_bytes" 67108864 $config.control)) (mul 64 $mebi)) -}}
{{- end -}}
{{- end -}}
{{- if $reads -}}
{{- $partitions := int64 $reads.partitions -}}
{{- $credit := add (int64 $reads.bytes) (min (int64 $reads.bytes) (mul 4 $mebi)) -}}
{{- $held := add (min (mul $partitions $credit) (int64 $config.kafka.live_budget_bytes)) (mul $partitions $record) -}}
{{- $_ := set $parts "records in memory (config.kafka.live_budget_bytes)" $held -}}
{{- $_ := set $parts (printf "what stands beside %d records of %d partitions" (int64 $reads.records) $partitions) (mul $partitions 5 (int64 $reads.records) 1024) -}}
{{- $_ := set $parts "records fetched ahead" (mul (add 32 (mul 16 $brokers)) $mebi) -}}
{{- end -}}
{{- toJson $parts -}}
{{- end -}}

{{/* Their sum, in bytes. */}}
{{- define "hookbus.memorySum" -}}
{{- $sum := 0 -}}
{{- range $name, $bytes := include "hookbus.memoryParts" . | fromJson -}}
{{- $sum = add $sum (int64 $bytes) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* The three largest parts, for people. */}}
{{- define "hookbus.memoryLargest" -}}
{{- $lines := list -}}
{{- range $name, $bytes := include "hookbus.memoryParts" . | fromJson -}}
{{- $lines = append $lines (printf "%015d|%d MiB for %s" (int64 $bytes) (div (int64 $bytes) 1048576) $name) -}}
{{- end -}}
{{- $largest := list -}}
{{- range slice (reverse (sortAlpha $lines)) 0 3 -}}
{{- $largest = append $largest (last (splitList "|" .)) -}}
{{- end -}}
{{- join ", " $largest -}}
{{- end -}}

{{/* The memory limit of a role: what its values say, else the sum and a fifth for what allocators waste, in steps of 64 MiB. */}}
{{- define "hookbus.memoryLimit" -}}
{{- $own := dig "limits" "memory" "" .values.resources -}}
{{- if $own -}}{{ $own }}{{- else -}}
{{- $sum := include "hookbus.memorySum" . | int64 -}}
{{- printf "%dMi" (mul 64 (div (add (div (mul $sum 6) 5) 67108863) 67108864)) -}}
{{- end -}}
{{- end -}}

{{/* A quantity of Kubernetes in bytes. */}}
{{- define "hookbus.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- if not (hasKey $units $unit) -}}{{ fail (printf "the quantity %s has a unit that is none of Ki, Mi, Gi, Ti, k, M, G, T" $text) }}{{- end -}}
{{- mulf (float64 (trimSuffix $unit $text)) (get $units $unit) | int64 -}}
{{- end -}}
