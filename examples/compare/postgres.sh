#!/usr/bin/env bash
# A table of a PostgreSQL into Arrow batches: ours, ADBC and connectorx, five times each in turn, and psycopg with pandas once; prints medians and
# ratios of the processor seconds of the reading process. MLOPS_TEST_POSTGRES_URL names the server; a table `bench_rows` is made there and dropped.
set -euo pipefail
rows=${1:-1000000}
. "$(dirname "$0")/setup.sh"
: "${MLOPS_TEST_POSTGRES_URL:?names a server where a table may be made}"

echo "$MLOPS_TEST_POSTGRES_URL" >"$data/postgres.url"
"$python" "$here/read_csv.py" make "$data" "$rows"
"$python" "$here/read_postgres.py" load "$data"
trap '"$python" "$here/read_postgres.py" drop "$data"; rm -rf "$data"' EXIT
for _ in 1 2 3 4 5; do
    ours postgres
    for peer in adbc connectorx; do
        "$python" "$here/read_postgres.py" "$peer" "$data" >>"$data/lines"
    done
done
"$python" "$here/read_postgres.py" pandas "$data" >>"$data/lines"
"$python" - "$data/lines" <<'PY'
import json, math, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs.setdefault(run["peer"], []).append(run)
middle = lambda peer, key: statistics.median(run[key] for run in runs[peer])
print(f"{'':12} {'cpu s':>8} {'wall s':>8} {'rows/cpu s':>11} {'peak MB':>9} {'rows':>10} {'nonnull':>11} {'sum':>22} {'cpu of adbc':>12}")
for peer in runs:
    last = runs[peer][-1]
    print(f"{peer:12} {middle(peer, 'cpu_s'):8.2f} {middle(peer, 'wall_s'):8.2f} {last['rows'] / middle(peer, 'cpu_s'):11.0f} {middle(peer, 'peak_rss_mb'):9.1f} "
          f"{last['rows']:10} {last['nonnull']:11} {last['sum']:22} {middle(peer, 'cpu_s') / middle('adbc', 'cpu_s'):11.2f}x")
last = [runs[peer][-1] for peer in runs]
# Sums are taken in different orders.
if any((run["rows"], run["nonnull"]) != (last[0]["rows"], last[0]["nonnull"]) or not math.isclose(run["sum"], last[0]["sum"], rel_tol=1e-9) for run in last):
    sys.exit("the results differ")
PY
