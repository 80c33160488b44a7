#!/usr/bin/env bash
# Installs what `make bench` needs and is missing: the servers of the tests, wrk and
# pgbench, through the system's package manager and if it has the rights. Prints and does
# nothing if all is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-test-services.sh

have_wrk() { command -v wrk >/dev/null; }

# Debian's package postgresql brings pgbench; elsewhere it is one of the extras.
have_pgbench() {
  command -v pgbench >/dev/null ||
    compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null ||
    compgen -G '/usr/libexec/postgresql*/pgbench' >/dev/null ||
    compgen -G '/usr/pgsql-*/bin/pgbench' >/dev/null
}

missing() {
  have_wrk || echo wrk
  have_pgbench || echo "$1"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n -- "$@"
  fi
}

may_install() {
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }
}

main() {
  have_wrk && have_pgbench && return
  local packages install=() shown
  if command -v apt-get >/dev/null; then
    mapfile -t packages < <(missing postgresql-contrib)
    install=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 install --no-install-recommends)
    shown="sudo apt-get install ${packages[*]}"
    ! may_install || as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
  elif command -v dnf >/dev/null; then
    mapfile -t packages < <(missing postgresql-contrib)
    install=(as_root dnf install -y -q) shown="sudo dnf install ${packages[*]}"
  elif command -v apk >/dev/null; then
    mapfile -t packages < <(missing postgresql-contrib)
    install=(as_root apk add -q) shown="apk add ${packages[*]}"
  else
    mapfile -t packages < <(missing pgbench)
    shown="the system's package manager"
  fi
  if [ ${#install[@]} -gt 0 ] && may_install; then
    echo "installing ${packages[*]} for the benchmark; no server is started" >&2
    "${install[@]}" "${packages[@]}" >/dev/null </dev/null || true # what is missing then is told here
  fi
  have_wrk && have_pgbench && return
  echo "The benchmark needs ${packages[*]}. Install it with: $shown" >&2
  exit 1
}

main "$@"
