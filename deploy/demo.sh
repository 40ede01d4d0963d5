#!/bin/bash
# Starts a cloud, makes a network, boots a guest with OpenStack's own command
# line and logs in to it through its floating IP. Safe to run again.
#   demo.sh up | down        STATE (default .demo), LISTEN, IMAGE
set -euo pipefail
cd "$(dirname "$0")/.."
STATE=${STATE:-.demo} LISTEN=${LISTEN:-127.0.0.1:5000} IMAGE=${IMAGE:-.cache/guest.qcow2}
export PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH PYTHONWARNINGS=ignore
unset "${!OS_@}" VIRTUAL_ENV PYENV_VERSION 2>/dev/null || true

step() { printf '\n== %s\n' "$*"; }
os() { printf '$ openstack %s\n' "$*" >&2; openstack "$@"; }
# have NOUN NAME…: whether it exists already
have() { openstack "$@" -f value -c id >/dev/null 2>&1; }

down() {
  [ -d "$STATE" ] || { echo "no demo in $STATE"; return; }
  bin/tropo down --state "$STATE"
  rm -rf "$STATE"
}

up() {
  mkdir -p "$STATE"
  step "the cloud"
  if [ -f "$STATE/up.pid" ] && kill -0 "$(cat "$STATE/up.pid")" 2>/dev/null; then
    echo "it runs already, as process $(cat "$STATE/up.pid")"
  else
    setsid bin/tropo up --state "$STATE" --listen "$LISTEN" >"$STATE/up.log" 2>&1 </dev/null &
    echo $! >"$STATE/up.pid"
    for _ in $(seq 300); do
      grep -q '^ready' "$STATE/up.log" && break
      kill -0 "$(cat "$STATE/up.pid")" 2>/dev/null || { cat "$STATE/up.log" >&2; exit 1; }
      sleep 0.1
    done
    grep -q '^ready' "$STATE/up.log" || { cat "$STATE/up.log" >&2; echo "the cloud is not ready after 30 s" >&2; exit 1; }
    cat "$STATE/up.log"
  fi
  export OS_CLIENT_CONFIG_FILE=$(realpath "$STATE")/clouds.yaml OS_CLOUD=tropo
  os catalog list -c Name -c Type

  step "an image, a flavor, a key"
  have image show guest || os image create guest --disk-format qcow2 --container-format bare --public --file "$IMAGE" -c id -c name -c size -c status
  have flavor show tiny || os flavor create tiny --ram 256 --vcpus 1 --disk 1 -c id -c name -c ram
  if ! openstack keypair show demo >/dev/null 2>&1; then
    rm -f "$STATE/demo.key"
    ssh-keygen -q -t ed25519 -N '' -C demo -f "$STATE/demo.key"
    os keypair create demo --public-key "$STATE/demo.key.pub" -c name -c fingerprint
  fi

  step "networks"
  have network show public || os network create public --external --provider-network-type flat --provider-physical-network public -c id -c name
  have subnet show public || os subnet create public --network public --subnet-range 172.24.4.0/24 --no-dhcp --gateway 172.24.4.1 --allocation-pool start=172.24.4.10,end=172.24.4.250 -c id -c cidr
  have network show private || os network create private -c id -c name -c mtu
  have subnet show private || os subnet create private --network private --subnet-range 10.11.12.0/24 -c id -c cidr
  if ! have router show router; then
    os router create router -c id -c name
    os router set router --external-gateway public
    os router add subnet router private
  fi
  if ! have security group show demo; then
    os security group create demo -c id -c name
    os security group rule create demo --protocol tcp --dst-port 22 -c id
    os security group rule create demo --protocol icmp -c id
  fi

  step "a server"
  printf '#!/bin/sh\necho "user-data ran on $(hostname)"\n' >"$STATE/user-data"
  have server show demo || os server create demo --image guest --flavor tiny --network private --key-name demo --security-group demo --user-data "$STATE/user-data" --wait -c id -c name -c status -c addresses
  ip=$(openstack floating ip list --tags demo -f value -c 'Floating IP Address' 2>/dev/null | head -1)
  if [ -z "$ip" ]; then
    ip=$(openstack floating ip create public --tag demo -f value -c floating_ip_address)
    os server add floating ip demo "$ip"
  fi
  bin/tropo trace --state "$STATE" demo

  step "a login through the floating IP $ip"
  ssh=(ssh -i "$STATE/demo.key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5 "cirros@$ip")
  for try in $(seq 60); do
    "${ssh[@]}" true 2>/dev/null && break
    [ "$try" -lt 60 ] || { openstack console log show demo | tail -40; echo "no SSH after 60 tries" >&2; exit 1; }
    sleep 2
  done
  "${ssh[@]}" 'echo "hello from $(hostname), $(uname -sr)"; ip -4 addr show eth0 | grep inet'

  cat <<EOF

The cloud runs. Reach it with
  export OS_CLIENT_CONFIG_FILE=$(realpath "$STATE")/clouds.yaml OS_CLOUD=tropo
  openstack server list
  ${ssh[*]}
  openstack console log show demo
End it and remove all it made: make clean-demo
EOF
}
"${1:-up}"
