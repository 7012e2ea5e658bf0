{{- /* Generated from manifests/operator by `npm run generate`. Change it there. */}}
{{- define "sluice-operator.rules" -}}
# Reads what users want, and says what is.
- apiGroups: [serving.sluice.dev]
  resources: [servingdeployments, kvtiers, pinnedcontexts]
  verbs: [list, watch]
- apiGroups: [serving.sluice.dev]
  resources: [servingdeployments/status, servingpools/status, kvtiers/status, pinnedcontexts/status]
  verbs: [patch]
# Owning an object means that it keeps its owner from vanishing first (blockOwnerDeletion).
- apiGroups: [serving.sluice.dev]
  resources: [servingdeployments/finalizers, servingpools/finalizers]
  verbs: [update]
# Makes one pool for each role.
- apiGroups: [serving.sluice.dev]
  resources: [servingpools]
  verbs: [get, list, watch, create, patch, delete]
# Instances and routers. What it owns goes with it: nothing else is ever deleted.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# The door of a deployment.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
# How many pods a drain of nodes may take at one time.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# Who may reach instances and routers; removed where spec.network.policies is None.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Revisions of specs, for undo and for what counts while a roll is paused.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
# What happened, for kubectl describe.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "sluice-operator-leader.rules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, patch]
{{- end }}

{{- define "sluice-view.rules" -}}
- apiGroups: [serving.sluice.dev]
  resources:
    - servingdeployments
    - servingdeployments/status
    - servingpools
    - servingpools/status
    - servingpools/scale
    - kvtiers
    - kvtiers/status
    - pinnedcontexts
    - pinnedcontexts/status
  verbs: [get, list, watch]
{{- end }}

{{- define "sluice-edit.rules" -}}
- apiGroups: [serving.sluice.dev]
  resources: [servingdeployments, kvtiers, pinnedcontexts]
  verbs: [create, update, patch, delete, deletecollection]
# kubectl scale; pools themselves are the operator's.
- apiGroups: [serving.sluice.dev]
  resources: [servingpools/scale]
  verbs: [update, patch]
{{- end }}

{{- define "sluice-admin.rules" -}}
# Takes away what an operator that is gone left behind.
- apiGroups: [serving.sluice.dev]
  resources: [servingpools]
  verbs: [update, patch, delete, deletecollection]
{{- end }}
