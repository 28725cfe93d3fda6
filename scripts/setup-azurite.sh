#!/usr/bin/env bash
# Brings Azurite, Microsoft's server for local tests of Blob storage, at the version pinned in scripts/azurite, from npm's
# registry into the cache that setup-interop.sh uses. A second run does nothing and takes a moment.
#
#   scripts/setup-azurite.sh           fetch what is missing; prints only what it does
#   scripts/setup-azurite.sh --where   print azurite=FILE if its program is there; fetches nothing
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
package=$root/scripts/azurite

home_cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -z "${HUBFERRY_CACHE:-}" ] && [ -n "$home_cache" ] && mkdir -p "$home_cache/hubferry" 2>/dev/null && [ -w "$home_cache/hubferry" ]; then
  cache=$home_cache/hubferry
else
  cache=${HUBFERRY_CACHE:-$root/.cache}
  export npm_config_cache=$cache/npm
fi
dir=$cache/azurite/$(cat "$package/package.json" "$package/package-lock.json" | sha256sum | cut -c1-16)

if [ "${1:-}" = --where ]; then
  [ ! -e "$dir/.ready" ] || echo "azurite=$dir/node_modules/azurite/dist/src/blob/main.js"
  exit
fi

mkdir -p "$cache/azurite"
exec 9>"$cache/azurite/.lock"
flock 9 # two runs at once would write the same folder
[ ! -e "$dir/.ready" ] || exit 0
command -v npm >/dev/null || { echo "setup-azurite: npm is missing; install Node.js 20 or newer with npm and run this again" >&2; exit 1; }
echo "setup-azurite: Azurite"
rm -rf "$dir"
mkdir -p "$dir"
cp "$package/package.json" "$package/package-lock.json" "$dir/"
if ! npm ci --prefix "$dir" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >"$cache/azurite/setup.log" 2>&1; then
  echo "setup-azurite: npm ci failed:" >&2
  tail -n 30 "$cache/azurite/setup.log" >&2
  exit 1
fi
touch "$dir/.ready" # last, so that an interrupted run is not taken for a whole one
