#!/bin/bash
# Checks that OpenStack's own Keystone (Debian's python3-keystone) and tropo
# accept each other's tokens when they share the key repository, and have users
# and projects of the same ids. Needs root for nothing but apt.
#   test/conformance/keystone-tokens.sh [fernet|jws]     uses bin/tropo
set -euo pipefail
provider=${1:-fernet}
case $provider in fernet | jws) ;; *) echo "usage: $0 [fernet|jws]" >&2; exit 2 ;; esac
cd "$(dirname "$0")/../.."
export PATH=/usr/bin:/bin:/usr/sbin:/sbin PYTHONWARNINGS=ignore
command -v keystone-manage >/dev/null || { echo "apt-get install python3-keystone python3-requests" >&2; exit 2; }
work=$(mktemp -d /tmp/keystone-tokens.XXXXXX)
port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
tropo_port=$(port) keystone_port=$(port) pids=
cleanup() {
  for p in $pids; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  ${TROPO:-bin/tropo} down --state "$work/tropo" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

printf '[identity.token]\nprovider = %s\n' "$provider" >"$work/tropo.conf"
TROPO_ADMIN_PASSWORD=shared-secret ${TROPO:-bin/tropo} up --roles control --state "$work/tropo" --config "$work/tropo.conf" --listen "127.0.0.1:$tropo_port" >"$work/tropo.log" 2>&1 &
pids="$pids $!"
for _ in $(seq 300); do grep -q '^ready' "$work/tropo.log" && break; sleep 0.1; done
grep -q '^ready' "$work/tropo.log" || { cat "$work/tropo.log"; exit 1; }

cat >"$work/keystone.conf" <<EOF
[DEFAULT]
log_file = $work/keystone.log
[database]
connection = sqlite:///$work/keystone.db
[token]
provider = $provider
[fernet_tokens]
key_repository = $work/tropo/fernet-keys
[jwt_tokens]
jws_private_key_repository = $work/tropo/jws-keys/private
jws_public_key_repository = $work/tropo/jws-keys/public
[credential]
key_repository = $work/credential-keys
[fernet_receipts]
key_repository = $work/receipt-keys
[cache]
enabled = false
EOF
mkdir "$work/credential-keys" "$work/receipt-keys"
manage() { keystone-manage --config-file "$work/keystone.conf" "$@" 2>>"$work/manage.log"; }
manage db_sync
manage credential_setup --keystone-user root --keystone-group root
cp "$work"/credential-keys/* "$work/receipt-keys/"
manage bootstrap --bootstrap-password shared-secret --bootstrap-region-id RegionOne --bootstrap-public-url "http://127.0.0.1:$keystone_port/v3"
OS_KEYSTONE_CONFIG_FILES="$work/keystone.conf" OS_KEYSTONE_CONFIG_DIR="$work" keystone-wsgi-public --host 127.0.0.1 --port "$keystone_port" -- --config-file "$work/keystone.conf" >"$work/wsgi.log" 2>&1 &
pids="$pids $!"

python3 - "$tropo_port" "$keystone_port" "$work/keystone.db" <<'P'
import sqlite3, sys, time
import requests
tropo, keystone = (f"http://127.0.0.1:{p}/v3" for p in sys.argv[1:3])
user = {"name": "admin", "domain": {"id": "default"}, "password": "shared-secret"}

def login(base, scope=None):
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    if scope:
        auth["scope"] = scope
    r = requests.post(base + "/auth/tokens", json={"auth": auth}, timeout=30)
    assert r.status_code == 201, (base, r.status_code, r.text)
    return r.headers["X-Subject-Token"], r.json()["token"]

for _ in range(300):
    try:
        requests.get(keystone, timeout=5)
        break
    except requests.ConnectionError:
        time.sleep(0.1)

project = {"project": {"name": "admin", "domain": {"id": "default"}}}
_, ours = login(tropo, project)
# The same users and projects: give Keystone's rows our ids.
db = sqlite3.connect(sys.argv[3])
old_user, = db.execute("select user_id from local_user where name='admin'").fetchone()
old_project, = db.execute("select id from project where name='admin' and is_domain=0").fetchone()
for table, column, old, new in [
        ("user", "id", old_user, ours["user"]["id"]), ("local_user", "user_id", old_user, ours["user"]["id"]),
        ("assignment", "actor_id", old_user, ours["user"]["id"]), ("system_assignment", "actor_id", old_user, ours["user"]["id"]),
        ("project", "id", old_project, ours["project"]["id"]), ("assignment", "target_id", old_project, ours["project"]["id"])]:
    db.execute(f"update {table} set {column}=? where {column}=?", (new, old))
db.commit()
db.close()

passed = failed = 0
for name, scope in [("unscoped", "unscoped"), ("project", project), ("system", {"system": {"all": True}})]:
    for maker, checker, who in [(tropo, keystone, "Keystone validates tropo's"), (keystone, tropo, "tropo validates Keystone's")]:
        token, doc = login(maker, scope)
        r = requests.get(checker + "/auth/tokens", headers={"X-Auth-Token": token, "X-Subject-Token": token}, timeout=30)
        ok = r.status_code == 200 and r.json()["token"]["user"]["id"] == doc["user"]["id"] and \
            r.json()["token"]["audit_ids"] == doc["audit_ids"] and r.json()["token"]["expires_at"] == doc["expires_at"] and \
            r.json()["token"].get("project", {}).get("id") == doc.get("project", {}).get("id")
        print(("ok    " if ok else "FAIL  ") + f"{who} {name} token" + ("" if ok else f": {r.status_code} {r.text[:300]}"))
        passed, failed = passed + ok, failed + (not ok)
print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
P
