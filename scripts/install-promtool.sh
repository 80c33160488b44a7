#!/usr/bin/env bash
# Puts promtool into bin/ unless there is one on the PATH: out of the package prometheus of
# Debian or Ubuntu, which is unpacked and not installed, so no server is started and no
# rights are needed. Prints where promtool is.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v promtool; then
  exit
fi
if [ ! -x bin/promtool ]; then
  if ! command -v apt-get >/dev/null; then
    echo "make check-alerts needs promtool: install Prometheus with the system's package manager" >&2
    exit 1
  fi
  unpacked=$(mktemp -d)
  trap 'rm -rf "$unpacked"' EXIT
  # apt downloads as a user of its own where it can, who has to be able to write there.
  chmod 755 "$unpacked"
  echo "unpacking promtool from the package prometheus" >&2
  (cd "$unpacked" && apt-get -qq download prometheus && dpkg -x prometheus_*.deb .) >&2 || {
    echo "make check-alerts needs promtool: sudo apt-get update, or install prometheus" >&2
    exit 1
  }
  mkdir -p bin
  install -m 755 "$unpacked/usr/bin/promtool" bin/promtool
fi
echo "$PWD/bin/promtool"
