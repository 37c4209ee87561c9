#!/usr/bin/env bash
# Installs DATUM into the cluster of the current kube context and removes it again: `make deploy`, `make undeploy`.
# Every step may be repeated. KFP itself: `make kfp`.
#
#   manifests/deploy.sh deploy|undeploy OVERLAY
#   manifests/deploy.sh kfp
set -euo pipefail
cd "$(dirname "$0")/.."

datum=${DATUM:-.venv/bin/datum}
folder=manifests/overlays/${2:-}
settings=$folder/settings.env

setting() { # KEY: its value in settings.env
  sed -n "s/^$1=//p" "$settings"
}

random() { # COUNT of bytes, in hexadecimal digits
  od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'
}

create_secret() { # NAMESPACE NAME ACCESSKEY SECRETKEY; by standard input, so that no process list shows a key
  kubectl create -f - <<SECRET
apiVersion: v1
kind: Secret
metadata: {namespace: "$1", name: "$2"}
stringData: {accesskey: "$3", secretkey: "$4"}
SECRET
}

read_keys() { # NAMESPACE NAME: both keys on one line, or nothing where there is no such secret
  kubectl -n "$1" get secret "$2" --ignore-not-found \
    -o go-template='{{.data.accesskey | base64decode}} {{.data.secretkey | base64decode}}'
}

store_namespace() { # where the minio overlay's store is: the second label of its host
  setting STORE_ENDPOINT | cut -d . -f 2
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

build_images() {
  local tag stage cluster
  tag=$(setting TAG)
  if [[ $folder == */kind ]]; then
    make images TAG="$tag"
    cluster=$(kubectl config current-context)
    for stage in images/*/; do
      kind load docker-image "datum-$(basename "$stage"):$tag" --name "${cluster#kind-}"
    done
  else
    make images push REGISTRY="$(setting REGISTRY)" TAG="$tag"
  fi
}

deploy() {
  if [[ -z ${SKIP_IMAGES:-} && $folder != */kind && -z $(setting REGISTRY) ]]; then
    echo "deploy: $settings: REGISTRY is empty, expected a registry that the cluster pulls from;" \
      "set it, or deploy with SKIP_IMAGES=1 where the nodes hold the images" >&2
    exit 2
  fi
  if [[ $folder == */minio ]]; then
    share_store_keys
  fi
  "$datum" doctor --settings "$settings"
  if [[ -z ${SKIP_IMAGES:-} ]]; then
    build_images
  fi
  kubectl apply --server-side --field-manager=datum --kustomize "$folder"
  if [[ $folder == */minio ]]; then
    kubectl -n "$(store_namespace)" wait job/datum-bucket --for=condition=complete --timeout=10m
  fi
  "$datum" upload --settings "$settings"
  "$datum" schedule --settings "$settings" --apply
}

undeploy() { # leaves namespaces, secrets, volume claims and buckets: the data
  "$datum" schedule --settings "$settings" --remove
  "$datum" upload --settings "$settings" --remove
  kubectl delete --kustomize "$folder" --selector app.kubernetes.io/part-of=datum --ignore-not-found
  if [[ $folder == */minio ]]; then
    # The ConfigMap is KFP's; its key `providers` is ours.
    kubectl -n "$(setting NAMESPACE)" patch configmap kfp-launcher --type merge --patch '{"data": {"providers": null}}'
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
    echo "$1: there is no overlay '${2:-}' in manifests/overlays; expected OVERLAY=" \
      "$(basename -a manifests/overlays/*/ | paste -sd ' ')" >&2
    exit 2
  fi
  ;;
kfp) ;;
*)
  echo "usage: manifests/deploy.sh deploy|undeploy OVERLAY, or manifests/deploy.sh kfp" >&2
  exit 2
  ;;
esac
echo "$1: cluster $(kubectl config current-context)"
"$1"
