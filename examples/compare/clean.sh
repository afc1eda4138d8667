#!/usr/bin/env bash
# Twelve cleaning steps: ours, and pandas with scikit-learn, on the same file, three times each in turn; prints medians and ratios.
set -euo pipefail
rows=${1:-1000000}
. "$(dirname "$0")/setup.sh"

"$python" "$here/clean.py" make "$data" "$rows"
for _ in 1 2 3; do
    ours clean
    "$python" "$here/clean.py" run "$data" >>"$data/lines"
done
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
print(f"{'':14} {'cpu s':>8} {'wall s':>8} {'peak MB':>9} {'rows':>9} {'columns':>8} {'whole':>12} {'city':>10} {'scaled':>10} {'cpu ratio':>10}")
for peer in runs:
    last = runs[peer][-1]
    print(f"{peer:14} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'wall_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:9} "
          f"{last['columns']:8} {last['whole']:12} {last['city']:10} {last['scaled']:10} {middle(peer, 'cpu_s') / middle('mlops', 'cpu_s'):9.2f}x")
PY
