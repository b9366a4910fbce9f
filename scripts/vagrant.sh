#!/usr/bin/env bash
# Provisions one machine of the Vagrantfile. Run by Vagrant as root, inside the machine. See scripts/README.md.
set -euo pipefail

shared=${FABRIC_VAGRANT_FOLDER:-/vagrant}
build=$shared/artifacts/linux-x64

case ${1:-} in
  paris | virginia | factory) site=$1 ;;
  *)
    echo "usage: scripts/vagrant.sh paris|virginia|factory" >&2
    exit 2
    ;;
esac
if [ ! -x "$build/fabricd" ]; then
  echo "no build at $build: run scripts/publish.sh on the host, then vagrant rsync $site" >&2
  exit 1
fi

# What the published build needs: the TLS library of .NET on Linux, and a WireGuard for kernels without one.
packages=(ca-certificates libssl3 wireguard-go wireguard-tools)
if ! dpkg-query -W "${packages[@]}" >/dev/null 2>&1; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

getent passwd fabric >/dev/null || useradd --system --user-group --home-dir /var/lib/fabric --shell /usr/sbin/nologin fabric
install -d /usr/local/lib/fabric
cp -r "$build/." /usr/local/lib/fabric/
ln -sf ../lib/fabric/fabricd ../lib/fabric/fabric /usr/local/bin/
install -m 0644 "$build/fabricd.service" /etc/systemd/system/
systemctl daemon-reload

# paris keeps the CA. The others join with a token that is made there and put into the shared folder.
token=$shared/artifacts/vagrant/$site.token
if [ -e /var/lib/fabric/identity/gateway.crt ]; then
  systemctl enable fabricd
  systemctl restart fabricd
elif [ "$site" = paris ]; then
  [ -e /etc/fabric/ca/root.crt ] || fabric init --dir /etc/fabric --topology "$shared/topologies/vagrant.yaml"
  fabric token create paris/paris-1 | fabric join - --ca /etc/fabric/ca
  systemctl enable --now fabricd
elif [ -e "$token" ]; then
  fabric join --token-file "$token"
  systemctl enable --now fabricd
else
  cat <<TEXT
$site has not joined yet. On the host:

  mkdir -p artifacts/vagrant
  vagrant ssh paris -c "sudo fabric token create $site/$site-1" > artifacts/vagrant/$site.token
  vagrant rsync $site && vagrant provision $site
TEXT
fi
