#!/usr/bin/env bash
# What scripts/setup-kafka.sh and scripts/setup-amqp.sh have in common: brings the jars that scripts/NAME/pom.xml pins from
# Maven's registry into the cache that setup-interop.sh uses. A second run does nothing and takes a moment.
#
#   scripts/jars.sh NAME TITLE [-Dproperty=value...]           fetch what is missing; prints only what it does
#   scripts/jars.sh NAME TITLE [-Dproperty=value...] --where   print libs=FOLDER if the jars are there; fetches nothing
#
# Properties replace those of the pom, and have a folder of their own.
set -euo pipefail

name=$1 title=$2
shift 2
properties=()
while [[ "${1:-}" == -D* ]]; do
  properties+=("$1")
  shift
done
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pom=$root/scripts/$name/pom.xml

home_cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
maven_flags=()
if [ -z "${HUBFERRY_CACHE:-}" ] && [ -n "$home_cache" ] && mkdir -p "$home_cache/hubferry" 2>/dev/null && [ -w "$home_cache/hubferry" ]; then
  cache=$home_cache/hubferry
else
  cache=${HUBFERRY_CACHE:-$root/.cache}
  maven_flags=("-Dmaven.repo.local=$cache/m2")
fi
dir=$cache/$name/$({ cat "$pom" && printf '%s' "${properties[@]}"; } | sha256sum | cut -c1-16)

if [ "${1:-}" = --where ]; then
  [ ! -e "$dir/.ready" ] || echo "libs=$dir/libs"
  exit
fi

mkdir -p "$cache/$name"
exec 9>"$cache/$name/.lock"
flock 9 # two runs at once would write the same folder
[ ! -e "$dir/.ready" ] || exit 0
command -v mvn >/dev/null || { echo "setup-$name: mvn is missing; install Maven and run this again" >&2; exit 1; }
echo "setup-$name: $title"
rm -rf "$dir"
mkdir -p "$dir"
if ! mvn -q -B "${maven_flags[@]}" "${properties[@]}" -f "$pom" "-Doutput=$dir" package >"$cache/$name/setup.log" 2>&1; then
  echo "setup-$name: mvn package failed:" >&2
  tail -n 30 "$cache/$name/setup.log" >&2
  exit 1
fi
touch "$dir/.ready" # last, so that an interrupted run is not taken for a whole one
