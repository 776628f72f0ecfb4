#!/bin/bash
# Configure this host as the playbooks would from afar, offline but for Debian's own packages.
set -euo pipefail
cd "$(dirname "$0")"
sha256sum --check --strict --quiet SHA256SUMS

# A directory of its own: mms-hosts' runtimes are made and removed by the role.
ansible=/opt/mms/ansible
mkdir -p "$ansible/wheels"
tar -xf build/joining.tar -C "$ansible/wheels" --no-same-owner
(cd "$ansible/wheels" && sha256sum --check --strict --quiet SHA256SUMS)
python3 -m venv --without-pip --clear "$ansible/venv"
# pip runs from its own wheel, so that no package has to be there before.
PIP_CONFIG_FILE=/dev/null "$ansible/venv/bin/python" "$(echo "$ansible"/wheels/pip-*.whl)/pip" install --quiet \
  --no-index --find-links="$ansible/wheels" --require-hashes --no-deps --no-cache-dir --disable-pip-version-check \
  --requirement="$ansible/wheels/requirements.txt"
rm -r "$ansible/wheels"

export HOME="${HOME:-/root}" LC_ALL=C.UTF-8
ANSIBLE_CONFIG="$PWD/ansible.cfg" "$ansible/venv/bin/ansible-playbook" --inventory="$(hostname)," \
  --connection=local --extra-vars=@variables.json --extra-vars=mms_hosts=all playbooks/join.yml

# From now on the playbooks look after it, too: playbooks/settle.yml.
touch /var/lib/mms/joined
