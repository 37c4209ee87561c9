#!/usr/bin/env bash
# Lists every image that an installation pulls, one a line: ours, the overlay's, and KFP's with those of its drivers,
# launchers and Argo's executor. With a registry, copies them there, below the path that they have at home.
#
#   manifests/mirror.sh OVERLAY [REGISTRY]
set -euo pipefail
cd "$(dirname "$0")/.."

datum=${DATUM:-.venv/bin/datum}
overlay=${1:-}
if [[ ! -f manifests/overlays/$overlay/settings.env ]]; then
  echo "mirror: there is no overlay '$overlay' in manifests/overlays; expected OVERLAY=" \
    "$(basename -a manifests/overlays/*/ | paste -sd ' ')" >&2
  exit 2
fi
registry=${2:-}
rendered=build/manifests/$overlay
# REGISTRY/PATH:TAG or @DIGEST, wherever it stands: Argo gets its executor's image as an argument.
image='[a-z0-9.-]+\.[a-z0-9.-]+(:[0-9]+)?/[a-z0-9._/-]+(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})'

list() {
  "$datum" manifests --settings "manifests/overlays/$overlay/settings.env" --output "$rendered"
  {
    cat "$rendered/resources.yaml"
    if [[ -f build/images.json ]]; then
      cat build/images.json # pushed by `make images push`, with digests
    fi
    kubectl kustomize manifests/kfp # fetches KFP's own manifests
  } | grep -oE "image: *[^ ]+|$image" | sed -E "s/^image: *//; s/^[\"']//; s/[\"',]+$//" | sort -u
}

copy() { # IMAGE NAME
  local source=$1
  if command -v skopeo >/dev/null; then
    if [[ ${source##*/} == *:*@* ]]; then # skopeo takes a tag or a digest, not both
      source=${source%:*@*}@${source#*@}
    fi
    skopeo copy --all --preserve-digests "docker://$source" "docker://$2"
  elif command -v crane >/dev/null; then
    crane copy "$1" "$2"
  else
    echo "mirror: neither skopeo nor crane is installed, expected one to copy with; without a registry the images" \
      "are listed for another tool" >&2
    exit 2
  fi
}

target() { # IMAGE: its name in the registry; a digest needs no tag
  local path=$1 home=docker.io
  if [[ $path == */* && ${path%%/*} == *[.:]* ]]; then
    home=${path%%/*}
    path=${path#*/}
  fi
  if [[ $home == docker.io && $path != */* ]]; then
    path=library/$path
  fi
  echo "$registry/${path%@*}"
}

images=$(list)
while read -r image; do
  if [[ -n $registry ]]; then
    copy "$image" "$(target "$image")" </dev/null >&2
  fi
  echo "$image"
done <<<"$images"
