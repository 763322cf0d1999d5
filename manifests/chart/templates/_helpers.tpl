{{- /* Of a release of another name everything has that name: two can be beside each other in one namespace. */ -}}
{{- define "netsonde.name" -}}
{{- $name := .Release.Name }}
{{- if not (contains "netsonde" $name) }}{{ $name = printf "%s-netsonde" $name }}{{ end }}
{{- $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- /* Of what is in no namespace: one for each release of each namespace. */ -}}
{{- define "netsonde.clusterName" -}}
{{- $name := include "netsonde.name" . }}
{{- if ne $name .Release.Namespace }}{{ $name = printf "%s-%s" .Release.Namespace $name }}{{ end }}
{{- $name }}
{{- end }}
{{- define "netsonde.labels" -}}
app.kubernetes.io/name: {{ include "netsonde.name" . | quote }}
{{- end }}
{{- define "netsonde.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
{{- end }}
{{- define "netsonde.podLabels" -}}
{{- $ours := include "netsonde.labels" . | fromYaml }}
{{- range $key, $value := .Values.podLabels }}
{{- if hasKey $ours $key }}{{ fail (printf "podLabels: %s is what selects the Pods, and cannot be another" $key) }}{{ end }}
{{- end }}
{{- toYaml (merge $ours .Values.podLabels) }}
{{- end }}
{{- define "netsonde.bareHost" -}}
{{ .Values.listen.host | trimPrefix "[" | trimSuffix "]" }}
{{- end }}
{{- /* An address of IPv6 is told from a port by brackets. */ -}}
{{- define "netsonde.listen" -}}
{{- $host := include "netsonde.bareHost" . }}
{{- if contains ":" $host }}{{ $host = printf "[%s]" $host }}{{ end }}
{{- printf "--listen=%s:%v" $host .Values.listen.port }}
{{- end }}
{{- /* The kubelet asks the address of the node, unless the agent is at another, or answers it apart from those who must say who they are. */ -}}
{{- define "netsonde.probe" -}}
{{- $host := include "netsonde.bareHost" . }}
{{- if .Values.web.configSecret }}
host: 127.0.0.1
port: {{ .Values.web.healthPort }}
{{- else }}
port: metrics
{{- if not (has $host (list "" "0.0.0.0" "::")) }}
host: {{ $host | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- define "netsonde.netnsMount" -}}
name: netns
mountPath: /run/netns
readOnly: true
mountPropagation: {{ .Values.netnsMountPropagation }}
{{- end }}
