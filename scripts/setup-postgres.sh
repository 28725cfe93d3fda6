#!/usr/bin/env bash
# Installs a PostgreSQL server for the tests of checkpoint/postgres, from Debian's package, if there is none and this is
# root. The tests start clusters of their own and use no service of the system. A second run does nothing.
#
#   scripts/setup-postgres.sh
set -euo pipefail

command -v initdb >/dev/null && exit 0
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup-postgres: no PostgreSQL server; install the package postgresql and run this again" >&2
  exit 1
fi
echo "setup-postgres: PostgreSQL"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends postgresql; }
if ! install >"$log" 2>&1 && ! { apt-get update -q && install; } >"$log" 2>&1; then
  echo "setup-postgres: apt-get install failed:" >&2
  tail -n 30 "$log" >&2
  exit 1
fi
