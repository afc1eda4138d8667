#!/usr/bin/env bash
# What a request for 20 features in 3 views costs our HTTP server and that of Feast, and Feast's own client against ours.
#
# serve.sh  Needs python3 with feast 0.67 (FEAST_PYTHON, default python3). Feast's own server is measured where FEAST_REPO names
# a repository that online_feast.py kept, and FEAST_PEERS the folder of http_feast.py.
set -euo pipefail
. "$(dirname "$0")/setup.sh"
"$bench" serve --json | tee "$data/ours.json"
python=${FEAST_PYTHON:-$python}
if ! "$python" -c 'import feast' 2>/dev/null; then
    echo "SKIPPED: $python has no feast, its client and server were not run" >&2
    exit 0
fi
port=$((20000 + RANDOM % 20000))
mkfifo "$data/stop"
"$bench" serve --port "$port" <"$data/stop" >/dev/null &
exec 7>"$data/stop"
for ((tries = 0; tries < 100; tries++)); do
    if (echo >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    sleep 0.1
done
"$python" "$here/feast_client.py" "http://127.0.0.1:$port"
exec 7>&-
wait
if [ -n "${FEAST_REPO:-}" ] && [ -n "${FEAST_PEERS:-}" ]; then
    (cd "$FEAST_PEERS" && "$python" http_feast.py --repo "$FEAST_REPO" --feast "$(dirname "$python")/feast" --conns 1) | tee "$data/feast.json"
    "$python" - "$data/ours.json" "$data/feast.json" <<'PY'
import json, sys
ours, feast = (json.loads(open(path).read().strip().splitlines()[-1]) for path in sys.argv[1:])
for mine, theirs in (("entities_1", "one"), ("entities_100", "batch100")):
    a, b = ours[mine]["server_cpu_us"], feast[theirs]["server_cpu_us_per_req"]
    print(f"{mine}: {a} us against {b} us of server CPU, ratio {a / b:.4f}")
PY
fi
