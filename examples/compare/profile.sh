#!/usr/bin/env bash
# Profile of one table of mixed columns: ours and DuckDB's SUMMARIZE on the same file, three times each in turn; prints medians and ratios.
set -euo pipefail
peers=${1:?the folder with gen.py and profile_peers.py}
rows=${2:-1000000}
. "$(dirname "$0")/setup.sh"

(cd "$peers" && "$python" gen.py profile --rows "$rows" --out "$data" >&2)
for _ in 1 2 3; do
    ours profile
    ours profile-rows "mlops by row"
    (cd "$peers" && "$python" profile_peers.py duckdb --data "$data" --rows "$rows" 2>/dev/null) >>"$data/lines" || echo "duckdb failed" >&2
done
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if "cpu_s" in run:
        runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
print(f"{'':18} {'cpu s':>8} {'peak MB':>9} {'rows':>10} {'ns a row':>9} {'cpu ratio':>10}")
for peer in runs:
    last = runs[peer][-1]
    row_ns = f"{middle(peer, 'row_ns'):9.0f}" if "row_ns" in last else f"{'':9}"
    print(f"{peer:18} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:10} {row_ns} {middle(peer, 'cpu_s') / middle('mlops', 'cpu_s'):9.2f}x")
PY
