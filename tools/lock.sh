#!/usr/bin/env bash
# lock.sh: write requirements/*.txt from requirements/*.in, without the URL of a package index.
set -euo pipefail
cd "$(dirname "$0")/.."

lock() {
  .venv/bin/uv pip compile --quiet --no-config --no-header --generate-hashes --no-emit-index-url \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 "$@"
}

for name in runtime controller; do
  lock "requirements/$name.in" --output-file "requirements/$name.txt"
done
# Ansible for a host that configures itself, with the same versions as in controller.txt.
lock requirements/joining.in --constraints requirements/controller.txt --output-file requirements/joining.txt
# The GPU runtime: the engine for CUDA 11.2, and the same versions of all other packages.
sed 's/^mxnet==/mxnet-cu112==/' requirements/runtime.in |
  lock - --no-annotate --constraints requirements/runtime.txt --output-file requirements/runtime-gpu.txt
