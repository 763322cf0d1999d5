{{- define "netsonde.labels" -}}
app.kubernetes.io/name: netsonde
{{- end }}
{{- define "netsonde.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end }}
