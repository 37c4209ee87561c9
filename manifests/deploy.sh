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
  kubectl -n "$1" get secret "$2" --ignore-not-found \
    -o go-template='{{.data.accesskey}} {{.data.secretkey}}'
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

share_store_keys() { # the tasks and the store have one pair of keys: the one that is there, or a random one
  local runs store name keys access secret namespace
  runs=$(setting NAMESPACE)
  store=$(store_namespace)
  name=$(setting STORE_SECRET)
  if [[ -z $(kubectl get namespace "$runs" --ignore-not-found -o name) ]]; then
    return # the doctor says so
  fi
  if [[ -z $(kubectl get namespace "$store" --ignore-not-found -o name) ]]; then
    kubectl create -f - <<<"{apiVersion: v1, kind: Namespace, metadata: {name: $store}}"
  fi
  keys=$(read_keys "$runs" "$name")
  keys=${keys:-$(read_keys "$store" "$name")}
  read -r access secret <<<"${keys:-$(random 10) $(random 20)}"
  for namespace in "$runs" "$store"; do
    if [[ -z $(read_keys "$namespace" "$name") ]]; then
      create_secret "$namespace" "$name" "$access" "$secret"
    fi
  done
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

deploy() {
  local registry store
  registry=$(setting REGISTRY)
  if [[ -z ${SKIP_IMAGES:-} && $overlay != kind && -z $registry ]]; then
    echo "deploy: $settings: REGISTRY is empty, expected a registry that the cluster pulls from;" \
      "set it, or deploy with SKIP_IMAGES=1 where the nodes hold the images" >&2
    exit 2
  fi
  if [[ $overlay == minio ]]; then
    share_store_keys
  fi
  "$datum" doctor --settings "$settings"
  if [[ -z ${SKIP_IMAGES:-} ]]; then
    build_images
  fi
  kubectl apply --server-side --field-manager=datum --kustomize "$folder"
  if [[ $overlay == minio ]]; then
    store=$(store_namespace)
    kubectl -n "$store" wait job/datum-bucket --for=condition=complete --timeout=10m
  fi
  "$datum" upload --settings "$settings"
  "$datum" schedule --settings "$settings" --apply
}

undeploy() { # leaves namespaces, secrets, volume claims and buckets: the data
  local namespace
  namespace=$(setting NAMESPACE)
  "$datum" schedule --settings "$settings" --remove-all
  "$datum" upload --settings "$settings" --remove
  kubectl delete --kustomize "$folder" --selector app.kubernetes.io/part-of=datum --ignore-not-found
  if [[ $overlay == minio ]]; then
    # The ConfigMap is KFP's; its key `providers` is ours.
    kubectl -n "$namespace" patch configmap kfp-launcher --type merge --patch '{"data": {"providers": null}}'
  fi
}

kfp() {
  local found
  found=$(kubectl get deployments --all-namespaces --field-selector metadata.name=ml-pipeline \
    -o go-template='{{range .items}}{{.metadata.namespace}}: {{(index .spec.template.spec.containers 0).image}} {{end}}')
  if [[ -n $found ]]; then
    echo "kfp: KFP is there already, nothing to do ($found)"
    return
  fi
  kubectl apply --kustomize manifests/kfp/cluster-scoped
  kubectl wait crd/workflows.argoproj.io crd/scheduledworkflows.kubeflow.org \
    --for=condition=established --timeout=60s
  if [[ -z $(read_keys kubeflow mlpipeline-minio-artifact) ]]; then
    create_secret kubeflow mlpipeline-minio-artifact "$(random 10)" "$(random 20)"
  fi
  kubectl apply --kustomize manifests/kfp
  kubectl -n kubeflow wait deployment --all --for=condition=available --timeout=15m
}

case ${1:-} in
deploy | undeploy)
  if [[ ! -f $settings ]]; then
    echo "$1: there is no overlay '$overlay' in manifests/overlays; expected OVERLAY=" \
      "$(basename -a manifests/overlays/*/ | paste -sd ' ')" >&2
    exit 2
  fi
  setting NAMESPACE >/dev/null # refuses a file that `datum`, make and kustomize would read differently
  ;;
kfp) ;;
*)
  echo "usage: manifests/deploy.sh deploy|undeploy OVERLAY, or manifests/deploy.sh kfp" >&2
  exit 2
  ;;
esac
echo "$1: cluster $(kubectl config current-context)"
"$1"
