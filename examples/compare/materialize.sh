#!/usr/bin/env bash
# Materialization: ours into redb, SQLite and Redis, Feast into SQLite and Redis, on the same files; then our read of 100 entities
# from Redis beside one plain MGET. Starts a Redis of its own on loopback, which ends with the script.
#
# materialize.sh PEERS [ROWS KEYS]...: the folder with gen_data.py and online_feast.py, then rows of history per view and how many
# keys they are drawn from. Without them: the shape that the peers were measured on, many rows per key, and few. Feast
# is asked for shapes of up to FEAST_ROWS_MAX rows (default 100000): it takes minutes for more.
set -euo pipefail
peers=${1:?the folder with gen_data.py and online_feast.py}
shift
[ $# -gt 0 ] || set -- 100000 10000 1000000 100000 1000000 1000000
. "$(dirname "$0")/setup.sh"

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd "$data" && exec redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no >/dev/null) &
redis=$!
trap 'kill "$redis" 2>/dev/null || true; wait "$redis" 2>/dev/null || true; rm -rf "$data"' EXIT
until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done
# Which of Feast's readers of files is installed here.
offline=$("$python" -c 'import feast.infra.offline_stores.duckdb' 2>/dev/null && echo duckdb || echo dask)

# Processor seconds of the server so far: user and system ticks of 10 ms.
server_s() {
    awk '{ sub(/.*\) /, ""); print ($12 + $13) / 100 }' "/proc/$redis/stat"
}

# entry NAME BEFORE: adds the line of figures on standard input under this name, with what the server used since BEFORE.
entry() {
    local line used
    line=$(cat)
    used=$(awk -v a="$2" -v b="$(server_s)" 'BEGIN { print b - a }')
    sed "s/^{/{\"name\":\"$1\",\"server_s\":$used,/" <<<"$line" >>"$data/lines"
}

while [ $# -gt 1 ]; do
    rows=$1 keys=$2
    shift 2
    (cd "$peers" && "$python" gen_data.py --out "$data" --n 1000 --m "$rows" --keys "$keys" >&2)
    for store in redb sqlite redis; do
        redis-cli -p "$port" flushall >/dev/null
        before=$(server_s)
        "$bench" materialize --data "$data" --store "$store" --redis "redis://127.0.0.1:$port" --json | entry "mlops $store" "$before"
    done
    [ "$rows" -le "${FEAST_ROWS_MAX:-100000}" ] || continue
    for store in sqlite redis; do
        redis-cli -p "$port" flushall >/dev/null
        before=$(server_s)
        (cd "$peers" && "$python" online_feast.py --data "$data" --store "$store" --offline "$offline" \
            --redis "127.0.0.1:$port" --iters 50 --keep "$data/feast-$store-$rows-$keys") | entry "feast $store" "$before" ||
            echo "feast into $store failed: is it installed?" >&2
    done
done
"$bench" redis-read --data "$data" --redis "redis://127.0.0.1:$port" --json >"$data/read"
"$python" - "$data/lines" "$data/read" <<'PY'
import json, sys
print(f"{'':14} {'rows':>8} {'keys':>8} {'cpu s':>7} {'keys/cpu s':>11} {'rows/cpu s':>11} {'again keys/cpu s':>17} {'server s':>9}   8 features: {'keys/cpu s':>10}")
best = {}
# The server's seconds: of one of our two rounds, of Feast's round and its reads.
for line in filter(str.strip, open(sys.argv[1])):
    run = json.loads(line)
    if "materialize_cpu_s" in run:
        cpu, rows, keys = run["materialize_cpu_s"], run["rows"], run["keys"]
        wide, again = run["fv_a"]["keys_per_cpu_s"], f"{run['again_keys_per_cpu_s']:.0f}"
        server = run["server_s"] / 2
    elif "materialize" in run:
        views = run["materialize"]
        cpu, rows, keys = (sum(view[name] for view in views.values()) for name in ("cpu_s", "source_rows", "keys_written"))
        wide, again, server = views["fv_a"]["keys_written"] / views["fv_a"]["cpu_s"], "", run["server_s"]
    else:
        continue
    print(f"{run['name']:14} {rows:8} {keys:8} {cpu:7.2f} {keys / cpu:11.0f} {rows / cpu:11.0f} {again:>17} {server:9.2f}   {'':11} {wide:10.0f}")
    peer, store = run["name"].split()
    best.setdefault((rows, keys), {})[peer, store] = keys / cpu
for (rows, keys), of in best.items():
    for store in ("sqlite", "redis"):
        if ("feast", store) in of:
            print(f"{rows} rows, {keys} keys into {store}: {of['mlops', store] / of['feast', store]:.1f} times Feast's keys per processor second")
    if ("feast", "sqlite") in of:
        print(f"{rows} rows, {keys} keys, ours into redb: {of['mlops', 'redb'] / of['feast', 'sqlite']:.1f} times Feast's into sqlite")
read = json.load(open(sys.argv[2]))
for name, figure in read.items():
    print(f"{name:28} " + (f"p50 {figure['p50_us']:8.1f} us   p99 {figure['p99_us']:8.1f} us" if isinstance(figure, dict) else f"{figure:.2f}"))
PY
