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
{{- if has . (list "recorder" "resolver") }}yes{{ end -}}
{{- end }}
