#!/usr/bin/env bash
# lint.sh [--fast]: run all static checks; --fast skips mypy and ansible-lint.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

check() {
  printf '== lint: %s\n' "$*"
  "$@"
}

check ruff format --check --quiet
check ruff check --quiet
check lint-imports --no-logo
check yamllint --strict .
mapfile -t scripts < <(git ls-files -- '*.sh' .ci/run 'testhosts/guest/usr/local/sbin/*')
check shellcheck "${scripts[@]}"
check python tools/generate.py --check
[ "${1:-}" = --fast ] && exit 0
check mypy
check mypy --explicit-package-bases tools examples roles plugins
check ansible-lint --offline -q
