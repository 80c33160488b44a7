#!/usr/bin/env bash
# Fails if a file that go generate writes is not what it writes now. The tree is
# compared with itself, not with the last commit: changes that are not committed
# yet, also new files, are no failure.
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
  echo "Generated code is not fresh. It was generated again just now: look at the difference and commit it." >&2
  diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] //p' | sed 's/.* //' | sort -u >&2
  exit 1
fi
