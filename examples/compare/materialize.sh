#!/usr/bin/env bash
# Materialization: ours into redb, SQLite and Redis, Feast into SQLite and Redis, on the same files; then our read of 100 entities
# from Redis beside one plain MGET. Starts a Redis of its own on loopback, which ends with the script.
set -euo pipefail
peers=${1:?the folder with gen_data.py and online_feast.py}
rows=${2:-100000}
keys=${3:-$((rows / 10))}
. "$(dirname "$0")/setup.sh"

port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
(cd "$data" && exec redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly no >/dev/null) &
redis=$!
trap 'kill "$redis" 2>/dev/null || true; rm -rf "$data"' EXIT
until (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do sleep 0.05; done

(cd "$peers" && "$python" gen_data.py --out "$data" --n 1000 --m "$rows" --keys "$keys" >&2)
for store in redb sqlite redis; do
    "$bench" materialize --data "$data" --store "$store" --redis "redis://127.0.0.1:$port" --json |
        sed "s/^{/{\"peer\":\"mlops $store\",/" >>"$data/lines"
done
for store in sqlite redis; do
    (cd "$peers" && "$python" online_feast.py --data "$data" --store "$store" --redis "127.0.0.1:$port" --iters 50) >>"$data/lines" ||
        echo "feast into $store failed: is it installed?" >&2
done
"$bench" redis-read --data "$data" --redis "redis://127.0.0.1:$port" --json >"$data/read"
"$python" - "$data/lines" "$data/read" <<'PY'
import json, sys
print(f"{'':20} {'cpu s':>8} {'rows':>10} {'keys':>9} {'keys per cpu s':>15}")
for line in open(sys.argv[1]):
    run = json.loads(line)
    if "materialize_cpu_s" in run:
        cpu, rows, keys = run["materialize_cpu_s"], run["rows"], run["keys"]
    elif "materialize" in run:
        views = run["materialize"].values()
        cpu, rows, keys = (sum(view[name] for view in views) for name in ("cpu_s", "source_rows", "keys_written"))
    else:
        continue
    print(f"{run['peer']:20} {cpu:8.2f} {rows:10} {keys:9} {keys / cpu:15.0f}")
read = json.load(open(sys.argv[2]))
for name, figure in read.items():
    print(f"{name:28} " + (f"p50 {figure['p50_us']:8.1f} us   p99 {figure['p99_us']:8.1f} us" if isinstance(figure, dict) else f"{figure:.2f}"))
PY
