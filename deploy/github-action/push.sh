#!/usr/bin/env bash
# The step of action.yml: pushes LONGSHORE_IMAGE to each of LONGSHORE_TAGS. The first push sends the layers, the others only the manifest.
set -euo pipefail

host=${LONGSHORE_REGISTRY#http*://}
url=$LONGSHORE_REGISTRY
[[ $url == http*://* ]] || url=https://$url

options=()
[[ -z ${LONGSHORE_PLATFORM:-} ]] || options+=(--platform "$LONGSHORE_PLATFORM")

pushed=
while read -r tag; do
  [[ -n $tag ]] || continue
  # Without standard input, because that is the list of tags.
  pushed=$(npx --yes "$url/cli.tgz" push --to "$host/$tag" ${options[@]+"${options[@]}"} -- "$LONGSHORE_IMAGE" </dev/null)
  echo "$pushed"
done <<<"$LONGSHORE_TAGS"

if [[ -z $pushed ]]; then
  echo "::error::tags names nothing. Write one REPOSITORY:TAG in each line." >&2
  exit 1
fi
echo "digest=${pushed##*@}" >>"$GITHUB_OUTPUT"
