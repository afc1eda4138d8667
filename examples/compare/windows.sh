#!/usr/bin/env bash
# Nine sliding aggregates per entity row: ours, polars and DuckDB on the same files, three times each in turn; prints medians and ratios.
set -euo pipefail
peers=${1:?the folder with gen_data.py, window_polars.py and window_duckdb.py}
rows=${2:-1000000}
keys=${3:-$((rows / 10))}
. "$(dirname "$0")/setup.sh"

(cd "$peers" && "$python" gen_data.py --out "$data" --n "$rows" --m "$rows" --keys "$keys" >&2)
for _ in 1 2 3; do
    ours windows
    for peer in "window_polars.py --how rolling" "window_duckdb.py --how prefix"; do
        (cd "$peers" && "$python" $peer --data "$data") >>"$data/lines" || echo "$peer failed" >&2
    done
done
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if "cpu_s" in run:
        runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
print(f"{'':22} {'cpu s':>8} {'peak MB':>9} {'rows':>10} {'cpu ratio':>10} {'memory ratio':>13}  counts and sums")
for peer in runs:
    last = runs[peer][-1]
    print(f"{peer:22} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:10} "
          f"{middle(peer, 'cpu_s') / middle('mlops', 'cpu_s'):9.2f}x {middle(peer, 'peak_rss_mb') / middle('mlops', 'peak_rss_mb'):12.2f}x"
          f"  {list(last['counts'].values())} {list(last['sums'].values())}")
PY
