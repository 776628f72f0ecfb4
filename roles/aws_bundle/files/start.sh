#!/bin/bash
# Configure this host with the playbook join.yml. Only Debian's own packages are downloaded.
set -euo pipefail
cd "$(dirname "$0")"
sha256sum --check --strict --quiet SHA256SUMS

# Not below /opt/mms/releases, where the role mms_runtime removes unused runtimes.
ansible=/opt/mms/ansible
mkdir -p "$ansible/wheels"
tar -xf build/joining.tar -C "$ansible/wheels" --no-same-owner
(cd "$ansible/wheels" && sha256sum --check --strict --quiet SHA256SUMS)
python3 -m venv --without-pip --clear "$ansible/venv"
# pip runs from its own wheel, so the host does not need python3-pip.
PIP_CONFIG_FILE=/dev/null "$ansible/venv/bin/python" "$(echo "$ansible"/wheels/pip-*.whl)/pip" install --quiet \
  --no-index --find-links="$ansible/wheels" --require-hashes --no-deps --no-cache-dir --disable-pip-version-check \
  --requirement="$ansible/wheels/requirements.txt"
rm -r "$ansible/wheels"

export HOME="${HOME:-/root}" LC_ALL=C.UTF-8
ANSIBLE_CONFIG="$PWD/ansible.cfg" "$ansible/venv/bin/ansible-playbook" --inventory="$(hostname)," \
  --connection=local --extra-vars=@variables.json --extra-vars=mms_hosts=all playbooks/join.yml

# From now on the playbooks manage this host too (playbooks/settle.yml).
touch /var/lib/mms/joined
