{{- define "stoploss.labels" -}}
app.kubernetes.io/name: stoploss
app.kubernetes.io/instance: {{ .release }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* What a role may read of the keys: the judge alone can sign. */}}
{{- define "stoploss.keys" -}}
{{- $keys := dict "intake" (list "secret.key") "joiner" (list "secret.key") "judge" (list "monitor.key" "secret.key") "courier" (list "monitor.pub" "break-glass.pub") -}}
{{- get $keys . | default list | join " " -}}
{{- end }}

{{/* Roles that ask ClickHouse. */}}
{{- define "stoploss.stores" -}}
{{- if has . (list "recorder" "resolver" "retention") }}yes{{ end -}}
{{- end }}

{{- define "stoploss.image" -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}
{{- end }}

{{- define "stoploss.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false   # they would set STOPLOSS_… variables of their own
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "stoploss.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Settings of each role: where Kafka and ClickHouse are, and as whom it gets in. */}}
{{- define "stoploss.environment" -}}
- {name: STOPLOSS_KAFKA, value: {{ .values.kafka.bootstrap | quote }}}
- {name: STOPLOSS_KAFKA_PROTOCOL, value: {{ .values.kafka.protocol }}}
{{- if (eq .values.kafka.protocol "SASL_SSL") }}
- {name: STOPLOSS_KAFKA_USER, value: stoploss-{{ .values.installation }}-{{ .role }}}
- {name: STOPLOSS_KAFKA_PASSWORD_FILE, value: /run/secrets/stoploss/kafka-password}
- {name: STOPLOSS_KAFKA_MECHANISM, value: {{ .values.kafka.mechanism }}}
{{- end }}
{{- if ne .values.kafka.protocol "PLAINTEXT" }}
- {name: STOPLOSS_KAFKA_CA_FILE, value: /run/secrets/stoploss/ca.crt}
{{- end }}
{{- if (include "stoploss.stores" .role) }}
- {name: STOPLOSS_CLICKHOUSE_URL, value: {{ index .values.clickhouse.urls .role | quote }}}
- {name: STOPLOSS_CLICKHOUSE_PASSWORD_FILE, value: /run/secrets/stoploss/clickhouse-password}
- {name: STOPLOSS_CLICKHOUSE_MIGRATE, value: {{ .values.clickhouse.migrate | quote }}}
{{- end }}
- {name: STOPLOSS_HOME, value: /var/lib/stoploss}
- {name: STOPLOSS_INSTALLATION, value: {{ .values.installation }}}
- {name: STOPLOSS_TOPIC_PREFIX, value: {{ .values.topicPrefix | quote }}}
- {name: STOPLOSS_LEDGER_PARTITIONS, value: {{ .values.ledgerPartitions | quote }}}
- {name: STOPLOSS_SOURCE_PARTITIONS, value: {{ .values.sourcePartitions | quote }}}
- {name: STOPLOSS_REPLICATION, value: {{ .values.replication | quote }}}
- {name: STOPLOSS_LOG_LEVEL, value: {{ .values.logLevel }}}
{{- end }}

{{/* Of the Secret, by what a role gets in. */}}
{{- define "stoploss.passwords" -}}
{{- if (eq .values.kafka.protocol "SASL_SSL") }}
- {key: {{ .role }}.kafka-password, path: kafka-password}
{{- end }}
{{- if ne .values.kafka.protocol "PLAINTEXT" }}
- {key: ca.crt, path: ca.crt}
{{- end }}
{{- if (include "stoploss.stores" .role) }}
- {key: {{ .role }}.clickhouse-password, path: clickhouse-password}
{{- end }}
{{- end }}
