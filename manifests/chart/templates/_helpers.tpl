{{- define "netsonde.labels" -}}
app.kubernetes.io/name: netsonde
{{- end }}
