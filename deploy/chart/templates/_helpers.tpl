{{- define "palisade.labels" -}}
app.kubernetes.io/name: palisade
app.kubernetes.io/component: controller
{{- end }}

{{- define "palisade.image" -}}
{{ .root.Values.image.registry }}/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- /* A plain manifest of deploy/, for the namespace of this release. */}}
{{- define "palisade.file" -}}
{{ .root.Files.Get .path | replace "palisade-system" .root.Release.Namespace | trim }}
{{- end }}
