#!/usr/bin/env bash
# Fails if go generate would change a file. The tree is compared with itself, not with
# the last commit, so uncommitted changes and new files are no failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Every Go file that is not ignored, with its checksum.
fingerprint() {
  git ls-files -z --cached --others --exclude-standard -- '*.go' | sort -zu |
    while IFS= read -r -d '' file; do
      if [ -f "$file" ]; then cksum "$file"; else echo "gone: $file"; fi
    done
}

before=$(fingerprint)
go generate -skip 'mod=mod' ./...
after=$(fingerprint)
if [ "$before" != "$after" ]; then
  echo "Generated code was out of date. It has been generated again: check the difference and commit it." >&2
  diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] //p' | sed 's/.* //' | sort -u >&2
  exit 1
fi
