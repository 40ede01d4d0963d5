#!/bin/sh
# Installs from Debian what a part of the Makefile needs: packages.sh SET...
# Sets: run (a cloud on this machine), guest (the guest image's builder),
# client (OpenStack's command line), test (the database servers, OpenLDAP, xmlsec1 and a C
# compiler for the race detector), brokers (RabbitMQ). Asks apt only for what is missing.
set -eu
packages() {
  case $1 in
    run) echo openvswitch-switch openvswitch-common ovn-central ovn-host ovn-common qemu-system-x86 qemu-utils iproute2 ethtool nftables util-linux ;;
    guest) grep -v '^#' "$(dirname "$0")/../tools/guestimage/packages.txt" ;;
    client) echo python3-openstackclient openssh-client curl ;;
    test) echo postgresql mariadb-server slapd xmlsec1 gcc libc6-dev tcpdump ;;
    brokers) echo rabbitmq-server ;;
    *) echo "packages.sh: no set $1" >&2; exit 2 ;;
  esac
}
missing=
for set in "$@"; do
  for p in $(packages "$set"); do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
  done
done
[ -n "$missing" ] || exit 0
echo "installing from Debian:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
# Packages that start a service of their own must not: tropo runs its own copies.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
  $sudo chmod 755 $policy
  made=1
fi
trap '[ -z "$made" ] || $sudo rm -f $policy' EXIT
apt="$sudo apt-get -o DPkg::Lock::Timeout=900 -o Dpkg::Options::=--force-confold -y -q"
# shellcheck disable=SC2086
$apt install --no-install-recommends $missing >/dev/null 2>&1 || {
  $apt update >/dev/null
  $apt install --no-install-recommends $missing >/dev/null
}
