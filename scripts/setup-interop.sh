#!/usr/bin/env bash
# Installs what the tests in interop/ need of other languages: a Python environment, Node modules and Java classes
# with the official Azure SDK clients, at the versions pinned in interop/clients, and a published sample. Everything comes from the package
# managers' own registries and lands in a cache; a second run does nothing and takes a moment.
#
#   scripts/setup-interop.sh           install what is missing; prints only what it does
#   scripts/setup-interop.sh --where   print where each part is (name=path lines); installs nothing
#
# The cache is $HUBFERRY_CACHE, else ~/.cache/hubferry, else .cache in this repository. With HUBFERRY_CACHE set, the
# package managers' own caches go there too, so that nothing outside that folder is written.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clients=$root/interop/clients

home_cache=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [ -n "${HUBFERRY_CACHE:-}" ]; then
  cache=$HUBFERRY_CACHE
  export PIP_CACHE_DIR=$cache/pip npm_config_cache=$cache/npm
  maven_flags=("-Dmaven.repo.local=$cache/m2")
elif [ -n "$home_cache" ] && mkdir -p "$home_cache/hubferry" 2>/dev/null && [ -w "$home_cache/hubferry" ]; then
  cache=$home_cache/hubferry
  maven_flags=()
else
  cache=$root/.cache
  export PIP_CACHE_DIR=$cache/pip npm_config_cache=$cache/npm
  maven_flags=("-Dmaven.repo.local=$cache/m2")
fi

# A part lives in a folder named after the digest of all that it is made from, so that a change of version makes a
# new one; .ready is written last, so that an interrupted installation is not taken for a whole one.
digest() { cat "$@" | sha256sum | cut -c1-16; }
version() { "$@" 2>&1 | head -n 1 | tr -c 'A-Za-z0-9.\n' '-' || true; }
python_dir() { echo "$cache/interop/python-$(version python3 --version)-$(digest "$clients/python/requirements.txt")"; }
sample_dir() { echo "$cache/interop/sample-$(digest "$clients/python/sample.txt")"; }
js_dir() { echo "$cache/interop/js-$(digest "$clients/js/package.json" "$clients/js/package-lock.json")"; }
java_dir() {
  local sources
  mapfile -t sources < <(find "$clients/java/src" -name '*.java' | LC_ALL=C sort)
  echo "$cache/interop/java-$(digest "$clients/java/pom.xml" "${sources[@]}")"
}

where() {
  local dir
  dir=$(python_dir) && [ -e "$dir/.ready" ] && echo "python=$dir/bin/python"
  dir=$(sample_dir) && [ -e "$dir/.ready" ] && echo "sample=$(ls "$dir"/*/samples/receive_events_using_checkpoint_store_async.py)"
  dir=$(js_dir) && [ -e "$dir/.ready" ] && echo "js=$dir/node_modules"
  dir=$(java_dir) && [ -e "$dir/.ready" ] && echo "java=$dir"
  return 0
}

need() {
  command -v "$1" >/dev/null && return
  echo "setup-interop: $1 is missing; install $2 and run this again" >&2
  return 1
}

# run STEP COMMAND...: keeps the output for the case that the command fails.
run() {
  local step=$1 log=$cache/interop/setup.log
  shift
  if ! "$@" >"$log" 2>&1; then
    echo "setup-interop: $step failed:" >&2
    tail -n 30 "$log" >&2
    return 1
  fi
}

make_venv() {
  python3 -m venv "$1" && return
  # Debian keeps the venv module's pip in a package of its own.
  rm -rf "$1"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install -y -q python3-venv || { apt-get update -q && apt-get install -y -q python3-venv; }
    python3 -m venv "$1" && return
  fi
  echo "python3 -m venv does not work: install the package python3-venv"
  return 1
}

setup_python() {
  local dir
  dir=$(python_dir)
  [ -e "$dir/.ready" ] && return
  need python3 "Python 3.11 or newer" || return 1
  echo "setup-interop: Python client"
  rm -rf "$dir"
  run "python3 -m venv" make_venv "$dir" || return 1
  run "pip install" "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
    -r "$clients/python/requirements.txt" || return 1
  touch "$dir/.ready"
}

setup_sample() {
  local dir python
  dir=$(sample_dir)
  [ -e "$dir/.ready" ] && return
  python=$(python_dir)/bin/python
  echo "setup-interop: Python sample"
  rm -rf "$dir"
  run "pip download" "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --no-binary azure-eventhub-checkpointstoreblob-aio -r "$clients/python/sample.txt" -d "$dir" || return 1
  run "unpack the sample" "$python" -m zipfile -e "$dir"/*.zip "$dir" || return 1
  touch "$dir/.ready"
}

setup_js() {
  local dir
  dir=$(js_dir)
  [ -e "$dir/.ready" ] && return
  need npm "Node.js 20 or newer with npm" || return 1
  echo "setup-interop: JavaScript client"
  rm -rf "$dir"
  mkdir -p "$dir"
  cp "$clients/js/package.json" "$clients/js/package-lock.json" "$dir/"
  run "npm ci" npm ci --prefix "$dir" --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error || return 1
  touch "$dir/.ready"
}

setup_java() {
  local dir
  dir=$(java_dir)
  [ -e "$dir/.ready" ] && return
  need javac "a JDK, 17 or newer" || return 1
  need mvn "Maven" || return 1
  echo "setup-interop: Java client"
  rm -rf "$dir"
  mkdir -p "$dir"
  run "mvn compile" mvn -q -B "${maven_flags[@]}" -f "$clients/java/pom.xml" "-Doutput=$dir" compile || return 1
  touch "$dir/.ready"
}

if [ "${1:-}" = --where ]; then
  where
  exit
fi

mkdir -p "$cache/interop"
exec 9>"$cache/interop/.lock"
flock 9 # two runs at once would build in the same folder
failed=0
setup_python && setup_sample || failed=1
setup_js || failed=1
setup_java || failed=1
exit $failed
