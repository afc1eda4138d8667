#!/usr/bin/env bash
# CSV of unknown types: ours (with the content's digest) and polars on the same file, five times each in turn; prints medians and ratios.
set -euo pipefail
rows=${1:-1000000}
. "$(dirname "$0")/setup.sh"

"$python" "$here/read_csv.py" make "$data" "$rows"
for _ in 1 2 3 4 5; do
    ours csv
    "$python" "$here/read_csv.py" run "$data" >>"$data/lines"
done
"$python" - "$data/lines" "$data/rows.csv" <<'PY'
import json, os, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
print(f"{os.path.getsize(sys.argv[2]) / 2**20:.0f} MiB")
print(f"{'':12} {'cpu s':>8} {'wall s':>8} {'peak MB':>9} {'rows':>10} {'nonnull':>11} {'sum':>22} {'cpu of polars':>14}")
for peer in runs:
    last = runs[peer][-1]
    print(f"{peer:12} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'wall_s'):8.2f} {middle(peer, 'peak_rss_mb'):9.1f} {last['rows']:10} {last['nonnull']:11} {last['sum']:22} "
          f"{middle(peer, 'cpu_s') / middle('polars', 'cpu_s'):13.2f}x")
if len({(runs[peer][-1]['rows'], runs[peer][-1]['nonnull']) for peer in runs}) != 1:
    sys.exit("the results differ")
PY
