#!/usr/bin/env bash
# Point-in-time join: ours, polars and DuckDB on the same files, in turn; prints medians and ratios for each shape of the data.
set -euo pipefail
peers=${1:?the folder with gen_data.py, pit_polars.py and pit_duckdb.py}
rows=${2:-1000000}
shapes=${3:-sparse hot long}
. "$(dirname "$0")/setup.sh"

# variant NAME HISTORY KEYS RUNS [OUR OPTION…]: generates, runs all sides RUNS times, prints a table, removes the data.
variant() {
    local name=$1 history=$2 keys=$3 runs=$4
    shift 4
    case " $shapes " in *" $name "*) ;; *) return 0 ;; esac
    (cd "$peers" && "$python" gen_data.py --out "$data" --n "$rows" --m "$history" --keys "$keys" >&2)
    : >"$data/lines"
    for _ in $(seq "$runs"); do
        "$bench" as-of-join --data "$data" --json "$@" | sed 's/^{/{"peer":"mlops",/' >>"$data/lines"
        for peer in pit_polars pit_duckdb; do
            (cd "$peers" && "$python" $peer.py --data "$data" --cap-mb "${PEER_MB:-12000}") >>"$data/lines" || echo "$peer failed" >&2
        done
    done
    echo "$name: $rows entity rows, three views of $history rows, $keys keys"
    "$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if "cpu_s" in run:
        runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
print(f"{'':12} {'cpu s':>8} {'peak MB':>9} {'rows':>10} {'nonnull':>11} {'sum':>12} {'cpu ratio':>10} {'memory ratio':>13}")
for peer in runs:
    last = runs[peer][-1]
    print(f"{peer:12} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:10} {last['nonnull']:11} {last['sum']:12} "
          f"{middle(peer, 'cpu_s') / middle('mlops', 'cpu_s'):9.2f}x {middle(peer, 'peak_rss_mb') / middle('mlops', 'peak_rss_mb'):12.2f}x")
PY
    rm -f "$data"/*.parquet
}

variant sparse "$rows" "$((rows / 10))" 3
variant hot "$rows" 1000 3
variant long "$((rows * 10))" "$rows" 1 --memory-mb 512
