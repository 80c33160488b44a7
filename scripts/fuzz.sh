#!/usr/bin/env bash
# Runs every fuzz target of the tree for the given time, 20s by default. An input that
# fails is kept in the target's testdata/fuzz, and go test runs it from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

git grep --untracked -oE '^func Fuzz\w+' -- '*_test.go' | sort | while IFS=: read -r file target; do
  name=${target#func }
  echo "== $name in $(dirname "$file")"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "${1:-20s}" "./$(dirname "$file")"
done
