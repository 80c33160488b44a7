#!/usr/bin/env bash
# Installs what the tests need and is missing: PostgreSQL and Redis, PgBouncer, libfaketime
# to give PostgreSQL a wrong time of day, and curl and Python for the examples, through the
# system's package manager and if it has the rights. Prints and does nothing if all is
# installed. Starts no server, and makes sure that the packages start none either.
set -euo pipefail

have_postgres() {
  [ -n "${TEST_DATABASE_URL:-}" ] && return
  command -v initdb >/dev/null && command -v postgres >/dev/null && return
  # Where distributions keep the programs of a server that is not on the PATH.
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
    compgen -G '/usr/libexec/postgresql*/initdb' >/dev/null ||
    compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null ||
    compgen -G '/opt/homebrew/opt/postgresql*/bin/initdb' >/dev/null ||
    compgen -G '/usr/local/opt/postgresql*/bin/initdb' >/dev/null
}

have_redis() {
  [ -n "${TEST_REDIS_URL:-}" ] || command -v redis-server >/dev/null || [ -x /usr/bin/redis-server ]
}

have_faketime() {
  [ "$(uname -s)" != Linux ] || # there is none that works elsewhere
    compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null ||
    [ -e /usr/lib64/faketime/libfaketime.so.1 ] || [ -e /usr/lib/faketime/libfaketime.so.1 ]
}

have_pgbouncer() {
  command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ]
}

have_servers() { have_postgres && have_redis; }
have_tools() { command -v curl >/dev/null && command -v python3 >/dev/null; }

missing() {
  have_postgres || echo "$1"
  have_redis || echo "$2"
  have_faketime || echo "${3:-}"
  have_pgbouncer || echo pgbouncer
  command -v curl >/dev/null || echo curl
  command -v python3 >/dev/null || echo python3
}

# as_root runs a command as root, or fails at once where that would ask for a password.
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

# give_up ends with a line that says what to install.
give_up() {
  echo "The tests need $1. Install it with: $2 (or point TEST_DATABASE_URL and TEST_REDIS_URL at servers that may be written to)" >&2
  exit 1
}

# Two files tell Debian's packages to start no server and to make no cluster. They
# are there while apt runs, and as they were before when this script ends.
policy=/usr/sbin/policy-rc.d
cluster=/etc/postgresql-common/createcluster.conf

keep() {
  if as_root test -e "$1"; then as_root cp -a "$1" "$2"; fi
}

restore() {
  as_root rm -f "$policy" "$cluster"
  keep "$saved/policy" "$policy"
  if as_root test -e "$saved/cluster"; then
    keep "$saved/cluster" "$cluster"
  else # what a plain installation would have left
    keep /usr/share/postgresql-common/createcluster.conf "$cluster"
  fi
  as_root rm -rf "$saved"
}

install_apt() {
  saved=$(mktemp -d)
  keep "$policy" "$saved/policy"
  keep "$cluster" "$saved/cluster"
  trap restore EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 755 "$policy"
  as_root mkdir -p "${cluster%/*}"
  echo 'create_main_cluster = false' | as_root tee "$cluster" >/dev/null
  as_root apt-get -qq -o DPkg::Lock::Timeout=300 update
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq -y -o DPkg::Lock::Timeout=300 \
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold install --no-install-recommends "$@"
}

main() {
  have_servers && have_faketime && have_pgbouncer && have_tools && return
  local packages=() install shown
  if command -v apt-get >/dev/null; then
    mapfile -t packages < <(missing postgresql redis-server libfaketime)
    install=install_apt shown="sudo apt-get install ${packages[*]}"
  elif command -v dnf >/dev/null; then
    mapfile -t packages < <(missing postgresql-server redis libfaketime)
    install="as_root dnf install -y -q" shown="sudo dnf install ${packages[*]}"
  elif command -v apk >/dev/null; then
    mapfile -t packages < <(missing postgresql redis libfaketime)
    install="as_root apk add -q" shown="apk add ${packages[*]}"
  elif command -v brew >/dev/null; then
    # shellcheck disable=SC2207 # macOS has a bash without mapfile
    packages=($(missing postgresql@16 redis))
    brew install --quiet "${packages[@]}"
    return
  else
    mapfile -t packages < <(missing PostgreSQL Redis libfaketime)
    install="" shown="the system's package manager"
  fi
  if [ -n "$install" ] && may_install; then
    echo "installing ${packages[*]} for the tests; no server is started" >&2
    $install "${packages[@]}" >/dev/null </dev/null || true # what is missing then is told here
  fi
  have_servers || give_up "${packages[*]}" "$shown"
  have_tools || echo "The tests of the examples will fail without curl and python3. Install them with: $shown" >&2
  have_pgbouncer || echo "The tests of PgBouncer will fail without it. Install it with: $shown" >&2
  have_faketime || echo "The tests that give PostgreSQL a wrong time of day will fail without libfaketime. Install it with: $shown" >&2
}

main "$@"
