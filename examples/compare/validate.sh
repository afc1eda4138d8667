#!/usr/bin/env bash
# Twenty-five rules over one table: ours, polars and DuckDB on the same file, three times each in turn, and Great Expectations once
# on its first million rows; prints medians and ratios per row.
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
# Slow, and often in an environment of its own: its time grows with the rows, and begins when the table is in memory.
gx=${GX_PYTHON:-$python}
if "$gx" -c 'import great_expectations' 2>/dev/null; then
    "$gx" valid_peers.py gx --data "$data" --rows $((rows < 1000000 ? rows : 1000000)) >>"$data/lines" || echo "gx failed" >&2
else
    echo "SKIPPED: Great Expectations is not installed for $gx; GX_PYTHON names an interpreter that has it" >&2
fi
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if run.get("error"):
        print(f"{run['peer']} failed: {run['error']}", file=sys.stderr)
    elif "cpu_s" in run:
        runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
row_ns = {peer: middle(peer, "cpu_s") / runs[peer][-1]["rows"] * 1e9 for peer in runs}
print(f"{'':38} {'cpu s':>8} {'peak MB':>9} {'rows':>10} {'cpu ns a row':>13} {'over ours':>10} {'equal counts':>13}")
for peer in runs:
    last = runs[peer][-1]
    print(f"{peer:38} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:10} {row_ns[peer]:13.0f} "
          f"{row_ns[peer] / row_ns['mlops']:9.2f}x {str(last.get('equal', '')):>13}")
PY
