#!/usr/bin/env bash
# lock.sh: write requirements/*.txt from requirements/*.in, without any index's address.
set -euo pipefail
cd "$(dirname "$0")/.."
for name in runtime controller; do
  .venv/bin/uv pip compile --quiet --no-config --no-header --generate-hashes --no-emit-index-url \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    "requirements/$name.in" --output-file "requirements/$name.txt"
done
