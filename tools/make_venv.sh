#!/usr/bin/env bash
# make_venv.sh DIRECTORY: create a virtual environment with the locked requirements and this project.
set -euo pipefail
cd "$(dirname "$0")/.."
directory=$1

say() { printf '== %s\n' "$*"; }

find_python() {
  local candidate
  for candidate in python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "make_venv.sh: no Python 3.11 found. Fix: apt-get install python3.11" >&2
  return 2
}

python=$(find_python)
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
  say "Installing python3-venv"
  apt-get update -qq
  apt-get install -y -qq python3-venv
fi
say "Virtual environment $directory: $("$python" --version), requirements/controller.txt (about a minute)"
[ -x "$directory/bin/python" ] || "$python" -m venv "$directory"
"$directory/bin/python" -m pip install -qq --require-hashes -r requirements/controller.txt
"$directory/bin/python" -m pip install -qq --no-deps --no-build-isolation --editable .
say "Virtual environment ready"
