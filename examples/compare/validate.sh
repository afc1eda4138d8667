#!/usr/bin/env bash
# Twenty-five rules over one table: ours, polars and DuckDB on the same file, three times each in turn; prints medians and ratios.
set -euo pipefail
peers=${1:?the folder with gen.py and valid_peers.py}
rows=${2:-5000000}
. "$(dirname "$0")/setup.sh"

cd "$peers"
"$python" gen.py valid --out "$data" --rows "$rows" >&2
"$python" valid_peers.py polars --data "$data" --rows "$rows" --write >/dev/null
for _ in 1 2 3; do
    ours validate
    for peer in polars duckdb; do
        "$python" valid_peers.py $peer --data "$data" --rows "$rows" >>"$data/lines" || echo "$peer failed" >&2
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
print(f"{'':24} {'cpu s':>8} {'peak MB':>9} {'rows':>10} {'cpu, ours in theirs':>20} {'equal counts':>13}")
for peer in runs:
    last = runs[peer][-1]
    ratio = middle("mlops", "cpu_s") / middle(peer, "cpu_s")
    print(f"{peer:24} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:10} {ratio:20.2f} {str(last.get('equal', '')):>13}")
PY
