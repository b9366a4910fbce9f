#!/usr/bin/env bash
# Provisions one machine of the Vagrantfile: installs the published build, joins the site's gateway, starts the daemon.
# Usage (as root, inside the machine): scripts/vagrant.sh paris|virginia|factory
set -euo pipefail

site=$1
build=/vagrant/artifacts/linux-x64
shared=/vagrant/artifacts/vagrant

if [ ! -x "$build/fabricd" ]; then
  echo "no build at $build: run scripts/publish.sh on the host first" >&2
  exit 1
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends wireguard-tools ca-certificates libssl3

install -d /usr/local/lib/fabric
cp -r "$build/." /usr/local/lib/fabric/
ln -sf /usr/local/lib/fabric/fabricd /usr/local/lib/fabric/fabric /usr/local/bin/
install -m 0644 /vagrant/scripts/systemd/fabricd.service /etc/systemd/system/

if [ "$site" = paris ] && [ ! -e /etc/fabric/ca ]; then
  fabric init --dir /etc/fabric --trust-domain fabric.example --topology /vagrant/topologies/vagrant.yaml
fi

# Tokens are made on paris and fetched over its ssh by the operator; `vagrant ssh paris -c "sudo fabric token create …"`.
if [ "$site" = paris ]; then
  if [ ! -e /var/lib/fabric/identity ]; then
    fabric token create paris/paris-1 --ca /etc/fabric/ca --topology /etc/fabric/topology |
      fabric join - --state /var/lib/fabric --ca /etc/fabric/ca
  fi
  systemctl enable --now fabricd
elif [ -e "$shared/$site.token" ]; then
  fabric join --token-file "$shared/$site.token" --state /var/lib/fabric --topology /etc/fabric/topology
  systemctl enable --now fabricd
else
  cat <<EOF
To join $site:
  mkdir -p artifacts/vagrant
  vagrant ssh paris -c "sudo fabric token create $site/$site-1" > artifacts/vagrant/$site.token
  vagrant rsync $site && vagrant provision $site
EOF
fi
