#!/usr/bin/env bash
# Installs DATUM into the cluster of the current kube context and removes it again: `make deploy`, `make undeploy`.
# Every step may be repeated. KFP itself: `make kfp`.
#
#   manifests/deploy.sh deploy|undeploy OVERLAY
#   manifests/deploy.sh kfp
set -euo pipefail
cd "$(dirname "$0")/.."

datum=${DATUM:-.venv/bin/datum}
overlay=${2:-}
folder=manifests/overlays/$overlay
settings=$folder/settings.env
rendered=build/manifests/$overlay # what `datum manifests` writes
launcher_patch=$rendered/patch.yaml
our_line="# DATUM set this key" # first line of our value of kfp-launcher's key `providers`

setting() { # KEY: its value in settings.env
  manifests/setting.sh "$settings" "$1"
}

random() { # COUNT of bytes: twice as many hexadecimal digits, in base64 as a Secret holds them
  od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n' | base64
}

create_secret() { # NAMESPACE NAME ACCESSKEY SECRETKEY, in base64; by standard input: no process list shows a key
  kubectl create -f - <<SECRET
apiVersion: v1
kind: Secret
metadata: {namespace: "$1", name: "$2"}
data: {accesskey: "$3", secretkey: "$4"}
SECRET
}

read_keys() { # NAMESPACE NAME: both keys in base64, or nothing where there is no such secret
  local keys
  keys=$(kubectl -n "$1" get secret "$2" --ignore-not-found \
    -o go-template='{{with .data}}{{.accesskey}} {{.secretkey}}{{else}}<no value>{{end}}')
  if [[ $keys == *"<no value>"* ]]; then
    echo "deploy: secret $2 in $1 lacks accesskey or secretkey and is not changed; complete it, or delete it for" \
      "random keys" >&2
    exit 2
  fi
  echo "$keys"
}

store_namespace() { # where the minio overlay's store is: the second label of its host
  local endpoint host
  endpoint=$(setting STORE_ENDPOINT)
  host=${endpoint#*://}
  host=${host%%[:/]*}
  if [[ $host != *.* ]]; then
    echo "$settings: found STORE_ENDPOINT=$endpoint, expected http://SERVICE.NAMESPACE.svc:PORT" >&2
    exit 2
  fi
  host=${host#*.}
  echo "${host%%.*}"
}

share_store_keys() { # one pair for the tasks, which the store makes a user of, and one for the store alone
  local runs store name keys access secret namespace
  runs=$(setting NAMESPACE)
  store=$(store_namespace)
  name=$(setting STORE_SECRET)
  if [[ -z $(kubectl get namespace "$runs" --ignore-not-found -o name) ]]; then
    return # the doctor says so
  fi
  keys=$(read_keys "$runs" "$name")
  keys=${keys:-$(read_keys "$store" "$name")}
  if [[ -z $(kubectl get namespace "$store" --ignore-not-found -o name) ]]; then
    kubectl create -f "$rendered/namespace.yaml"
  fi
  read -r access secret <<<"${keys:-$(random 10) $(random 20)}"
  for namespace in "$runs" "$store"; do
    if [[ -z $(read_keys "$namespace" "$name") ]]; then
      create_secret "$namespace" "$name" "$access" "$secret"
    fi
  done
  if [[ -z $(read_keys "$store" "$name-root") ]]; then
    create_secret "$store" "$name-root" "$(random 10)" "$(random 20)"
  fi
}

make_store_user() { # in KFP's SeaweedFS a bucket, and a user who may read and write it and nothing else
  local runs name bucket keys access secret answer
  runs=$(setting NAMESPACE)
  name=$(setting STORE_SECRET)
  bucket=$(setting PIPELINE_ROOT)
  bucket=${bucket#*://}
  bucket=${bucket%%/*}
  keys=$(read_keys "$runs" "$name")
  if [[ -z $keys ]]; then
    keys="$(random 10) $(random 20)"
    create_secret "$runs" "$name" "${keys% *}" "${keys#* }"
  fi
  read -r access secret <<<"$keys"
  access=$(base64 -d <<<"$access")
  secret=$(base64 -d <<<"$secret")
  if [[ $access$secret == *[^A-Za-z0-9+/=_.-]* ]]; then
    echo "deploy: the keys in secret $name of $runs hold more than letters, digits and + / = _ . -, which SeaweedFS's" \
      "shell takes for its own; choose others, or delete the secret for random ones" >&2
    exit 2
  fi
  # By standard input: no process list shows a key; nor is the answer, which repeats them, shown.
  answer=$(kubectl -n "$(setting KFP_NAMESPACE)" exec -i deployment/seaweedfs -- weed shell 2>&1 <<SHELL
s3.bucket.create --name $bucket
s3.configure -user $name -access_key $access -secret_key $secret -buckets $bucket -actions Read,Write,List,Tagging -apply
volume.list
SHELL
  ) || true
  if [[ $answer != *"\"Write:$bucket\""* ]]; then
    echo "deploy: KFP's store made no user for bucket $bucket: ${answer//"$secret"/…}" >&2
    exit 2
  fi
  # Each bucket has volumes of its own, and KFP 2.17's store makes no more than eight in all.
  if [[ $answer != *"Collection:$bucket,"* && $(grep -m 1 -o 'Topology.*' <<<"$answer") != *free:[1-9]* ]]; then
    echo "deploy: KFP's store has no volume left for bucket $bucket, so nothing can be written there; start it with" \
      "-volume.max=100 (args of deployment seaweedfs in $(setting KFP_NAMESPACE)), or deploy OVERLAY=default" >&2
    exit 2
  fi
}

build_images() { # the Makefile takes registry and tag from the same settings
  local cluster image images python
  if [[ $overlay == kind ]]; then
    make images OVERLAY=kind
    cluster=$(kubectl config current-context)
    python=${PYTHON:-$(command -v python3.11 || command -v python3)} # as the Makefile finds it
    images=$("$python" -c 'import json; print(*json.load(open("build/images.json")).values(), sep="\n")')
    while read -r image; do
      kind load docker-image "$image" --name "${cluster#kind-}" </dev/null
    done <<<"$images"
  else
    make images push OVERLAY="$overlay"
  fi
}

providers() { # what KFP's launcher is told of stores, or nothing
  kubectl -n "$(setting NAMESPACE)" get configmap kfp-launcher --ignore-not-found \
    -o go-template='{{with .data}}{{with .providers}}{{.}}{{end}}{{end}}'
}

others_set_providers() {
  local found
  found=$(providers)
  [[ -n $found && $found != "$our_line"* ]]
}

refuse_others() { # what bears our names in the cluster and is not ours stays as it is
  local others
  others=$(kubectl get -f "$rendered/resources.yaml" --ignore-not-found --no-headers -o custom-columns='KIND:.kind,NAME:.metadata.name,NAMESPACE:.metadata.namespace,OWNER:.metadata.labels.app\.kubernetes\.io/part-of' |
    awk '$4 != "datum" {printf "%s%s %s in %s", (n++ ? ", " : ""), $1, $2, $3}')
  if [[ -n $others ]]; then
    echo "deploy: the cluster holds $others without the label app.kubernetes.io/part-of=datum, so not of ours;" \
      "choose another SERVICE_ACCOUNT or NAMESPACE in $settings, or remove it" >&2
    exit 2
  fi
  if [[ $overlay != default && $overlay != kind ]] && others_set_providers; then
    echo "deploy: ConfigMap kfp-launcher in $(setting NAMESPACE) has a key \`providers\` that is not ours; merge it" \
      "with $launcher_patch by hand, begin it with '$our_line', or deploy OVERLAY=default" >&2
    exit 2
  fi
}

refuse_shared_namespace() { # STORE: the policies of the store's own namespace would cut others' pods off
  local others
  others=$(kubectl -n "$1" get pods --ignore-not-found --no-headers -o custom-columns='NAME:.metadata.name,OWNER:.metadata.labels.app\.kubernetes\.io/part-of' |
    awk '$2 != "datum" {printf "%s%s", (n++ ? ", " : ""), $1}')
  if [[ -n $others ]]; then
    echo "deploy: namespace $1, which is to hold the store alone, has pods that are not ours ($others) and would be cut" \
      "off; name another in STORE_ENDPOINT (http://minio.NAMESPACE.svc:9000) of $settings" >&2
    exit 2
  fi
}

remove_old_policies() { # NAMESPACE: those of an earlier deployment that this one has no more
  local kept policy
  kept=$(awk '/^kind: / {kind = $2} /^  name: / && kind == "NetworkPolicy" {print $2}' "$rendered/resources.yaml")
  kubectl -n "$1" get networkpolicies --selector app.kubernetes.io/part-of=datum -o name --ignore-not-found |
    while read -r policy; do
      grep -qx "${policy##*/}" <<<"$kept" || kubectl -n "$1" delete "$policy"
    done
}

remove_monitoring() { # NAMESPACE: what MONITORING=on applied, also of the operator's kinds where the cluster has them
  local kinds=configmaps,roles,rolebindings operators
  operators=$(kubectl api-resources --api-group=monitoring.coreos.com --output=name |
    { grep -E '^(podmonitors|prometheusrules)[.]' || true; } | paste -sd ,)
  kubectl -n "$1" get "$kinds${operators:+,$operators}" --output=name --ignore-not-found \
    --selector app.kubernetes.io/part-of=datum,app.kubernetes.io/component=monitoring |
    xargs -r kubectl -n "$1" delete
}

apply() { # what is ours, whole and by force; of KFP's ConfigMap one key
  local namespace
  namespace=$(setting NAMESPACE)
  kubectl apply --server-side --force-conflicts --field-manager=datum -f "$rendered/resources.yaml"
  remove_old_policies "$namespace"
  if ! grep -q '^kind: PodMonitor' "$rendered/resources.yaml"; then
    remove_monitoring "$namespace"
  fi
  if [[ $overlay == minio ]]; then
    remove_old_policies "$(store_namespace)"
  fi
  if others_set_providers; then
    echo "deploy: ConfigMap kfp-launcher in $namespace has a key \`providers\` of its owner and keeps it; with" \
      "maxRetries: 100 in it, artifacts wait a quarter of an hour for a store that is away"
    return
  fi
  if [[ -n $(kubectl -n "$namespace" get configmap kfp-launcher --ignore-not-found -o name) ]]; then
    kubectl -n "$namespace" patch configmap kfp-launcher --field-manager=datum --type merge --patch-file "$launcher_patch"
  else
    kubectl create -f "$launcher_patch"
    kubectl -n "$namespace" label configmap kfp-launcher app.kubernetes.io/part-of=datum
  fi
}

take_back_providers() { # leaves KFP's ConfigMap, unless we made it and nothing else is in it
  local namespace
  namespace=$(setting NAMESPACE)
  if [[ $(providers) != "$our_line"* ]]; then
    return
  fi
  kubectl -n "$namespace" patch configmap kfp-launcher --field-manager=datum --type merge --patch '{"data": {"providers": null}}'
  if [[ -z $(kubectl -n "$namespace" get configmap kfp-launcher -o go-template='{{with .data}}{{len .}}{{end}}') ]]; then
    kubectl -n "$namespace" delete configmap --selector app.kubernetes.io/part-of=datum \
      --field-selector metadata.name=kfp-launcher --ignore-not-found
  fi
}

deploy() {
  local registry store
  registry=$(setting REGISTRY)
  if [[ -z ${SKIP_IMAGES:-} && $overlay != kind && -z $registry ]]; then
    echo "deploy: $settings: REGISTRY is empty, expected a registry that the cluster pulls from;" \
      "set it, or deploy with SKIP_IMAGES=1 where the nodes hold the images" >&2
    exit 2
  fi
  "$datum" manifests --settings "$settings" --output "$rendered"
  refuse_others
  case $overlay in
  minio)
    store=$(store_namespace)
    refuse_shared_namespace "$store"
    share_store_keys
    ;;
  seaweedfs) make_store_user ;;
  esac
  "$datum" doctor --settings "$settings"
  if [[ -z ${SKIP_IMAGES:-} ]]; then
    build_images
  fi
  apply
  if [[ $overlay == minio ]]; then
    echo "deploy: waiting for MinIO in $store to make its bucket, ten minutes at most; kubectl -n $store get pods shows it"
    kubectl -n "$store" wait job/datum-bucket --for=condition=complete --timeout=10m
  fi
  "$datum" upload --settings "$settings"
  "$datum" schedule --settings "$settings" --apply
  echo "deploy: done; next: $datum submit --wait --output out$([[ $overlay == default ]] || echo " --settings $settings")"
}

undeploy() { # leaves namespaces, secrets, volume claims and buckets: the data
  local namespace
  namespace=$(setting NAMESPACE)
  # Policies may be there though they are off by now, and the operator's kinds may have gone.
  "$datum" manifests --settings "$settings" --set network_policies=on --set monitoring=off --output "$rendered"
  "$datum" schedule --settings "$settings" --remove-all
  "$datum" upload --settings "$settings" --remove
  kubectl delete -f "$rendered/resources.yaml" --selector app.kubernetes.io/part-of=datum --ignore-not-found
  remove_old_policies "$namespace"
  remove_monitoring "$namespace"
  take_back_providers
  echo "undeploy: done; data stays (namespaces, secrets, volumes, buckets), and so do KFP's runs and the registry's images"
}

require_default_class() { # KFP's store and database make claims without a class; nobody says why they wait
  local classes names
  classes=$(kubectl get storageclasses -o go-template='{{range .items}}{{.metadata.name}} {{with .metadata.annotations}}{{index . "storageclass.kubernetes.io/is-default-class"}}{{end}}
{{end}}')
  if grep -q ' true$' <<<"$classes"; then
    return
  fi
  names=$(awk 'NF {printf "%s%s", (n++ ? ", " : ""), $1}' <<<"$classes")
  if [[ -z $names ]]; then
    echo "kfp: the cluster has no StorageClass, expected one that is the default, for the volumes of KFP's store and" \
      "database; install a volume provisioner (microk8s enable hostpath-storage; k3s and kind bring one)" >&2
  else
    echo "kfp: none of the StorageClasses ($names) is the default, expected one, for the volumes of KFP's store and" \
      "database; kubectl annotate storageclass ${names%%,*} storageclass.kubernetes.io/is-default-class=true" >&2
  fi
  exit 2
}

wait_for_kfp() { # NAMESPACE DEPLOYMENTS: until they are up
  local namespace=$1
  shift
  kubectl -n "$namespace" wait "$@" --for=condition=available --timeout="${KFP_TIMEOUT:-15m}" && return
  kubectl -n "$namespace" get pods >&2 || true
  echo "kfp: KFP is not up yet; where pods still pull their images, \`make kfp\` waits on; else kubectl -n $namespace" \
    "describe pod NAME says what hinders one" >&2
  exit 75
}

kfp() {
  local found
  found=$(kubectl get deployments --all-namespaces --field-selector metadata.name=ml-pipeline \
    -o go-template='{{range .items}}{{.metadata.namespace}}: {{(index .spec.template.spec.containers 0).image}} {{end}}')
  if [[ -n $found ]]; then
    echo "kfp: KFP is there already, nothing to do ($found)"
    wait_for_kfp "${found%%:*}" deployment/ml-pipeline # an earlier call may have waited too short
    return
  fi
  require_default_class
  kubectl apply --kustomize manifests/kfp/cluster-scoped
  kubectl wait crd/workflows.argoproj.io crd/scheduledworkflows.kubeflow.org \
    --for=condition=established --timeout=60s
  if [[ -z $(read_keys kubeflow mlpipeline-minio-artifact) ]]; then
    create_secret kubeflow mlpipeline-minio-artifact "$(random 10)" "$(random 20)"
  fi
  kubectl apply --kustomize manifests/kfp
  wait_for_kfp kubeflow deployment --all
}

case ${1:-} in
deploy | undeploy)
  if [[ ! -f $settings ]]; then
    echo "$1: there is no overlay '$overlay' in manifests/overlays; expected OVERLAY=" \
      "$(basename -a manifests/overlays/*/ | paste -sd ' ')" >&2
    exit 2
  fi
  setting NAMESPACE >/dev/null # refuses a file that `datum` and make would read differently
  ;;
kfp) ;;
*)
  echo "usage: manifests/deploy.sh deploy|undeploy OVERLAY, or manifests/deploy.sh kfp" >&2
  exit 2
  ;;
esac
echo "$1: cluster $(kubectl config current-context)"
"$1"
