#!/usr/bin/env bash
# What a request for 20 features in 3 views costs our HTTP server and that of Feast, and Feast's own client against ours.
#
# serve.sh [PEERS [SECONDS]]  FEAST_PYTHON names an interpreter with feast[redis] 0.67, default python3; without it only
# our side runs. Where PEERS names the folder of gen_data.py, online_feast.py and http_feast.py, Feast's server is measured in
# the same run, SECONDS (default 10) per shape of request: over a Redis of its own, which is where its rows are; ours holds its
# rows in memory.
set -euo pipefail
peers=${1:-}
seconds=${2:-10}
. "$(dirname "$0")/setup.sh"
python=${FEAST_PYTHON:-$python}
"$bench" serve --json | tee "$data/ours.json"
if ! "$python" -c 'import feast' 2>/dev/null; then
    echo "SKIPPED: $python has no feast, its client and server were not run" >&2
    exit 0
fi

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# answers PORT: waits until something listens there; ten seconds at most.
answers() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
        sleep 0.1
    done
    echo "nobody listens on port $1" >&2
    return 1
}

port=$(free_port)
mkfifo "$data/stop"
"$bench" serve --port "$port" <"$data/stop" >/dev/null &
server=$!
exec 7>"$data/stop"
answers "$port"
"$python" "$here/feast_client.py" "http://127.0.0.1:$port"
exec 7>&-
wait "$server"
[ -n "$peers" ] || exit 0

port=$(free_port)
(cd "$data" && exec redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no >/dev/null) &
redis=$!
trap 'kill "$redis" 2>/dev/null || true; rm -rf "$data"' EXIT
answers "$port"
export FEAST_USAGE=False
mkdir "$data/repo"
(
    cd "$peers"
    "$python" gen_data.py --out "$data" --n 1000 --m 100000 --keys 10000 >&2
    "$python" online_feast.py --data "$data" --store redis --redis "127.0.0.1:$port" --offline dask --iters 50 --keep "$data/repo" >&2
    for by in refs service; do
        "$python" http_feast.py --repo "$data/repo" --feast "$(dirname "$(command -v "$python")")/feast" --conns 1 \
            --seconds "$seconds" --by "$by" --url "http://127.0.0.1:$(free_port)" | tee -a "$data/feast.json"
    done
)
"$python" - "$data/ours.json" "$data/feast.json" <<'PY'
import json, sys
ours, *feast = (json.loads(line) for path in sys.argv[1:] for line in open(path) if line.startswith("{"))
print(f"{'server cpu us per request':28} {'1 entity':>12} {'100 entities':>13}")
print(f"{'mlops':28} {ours['entities_1']['server_cpu_us']:12.0f} {ours['entities_100']['server_cpu_us']:13.0f}")
for run in feast:
    one, many = (run[shape]["server_cpu_us_per_req"] for shape in ("one", "batch100"))
    errors = run["one"]["errors"] + run["batch100"]["errors"]
    print(f"{'feast by ' + run['by']:28} {one:12.0f} {many:13.0f}" + (f"  {errors} errors" if errors else ""))
    print(f"{'  times ours':28} {one / ours['entities_1']['server_cpu_us']:12.0f} {many / ours['entities_100']['server_cpu_us']:13.0f}")
PY
