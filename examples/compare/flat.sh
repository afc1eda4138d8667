#!/usr/bin/env bash
# Memory over size: profile with all relations, and 25 rules with two unique keys, of tables that are made while they are read.
# Arguments: sizes in GB. Fails where a result is wrong or a peak is above 1 GB.
set -euo pipefail
sizes=${*:-0.25 0.5 1 2}
. "$(dirname "$0")/setup.sh"

for gb in $sizes; do
    for job in flat-profile flat-validate; do
        "$bench" $job --gb "$gb" --json | sed "s/^{/{\"job\":\"$job\",/" >>"$data/lines"
    done
done
"$python" - "$data/lines" <<'PY'
import json, sys
runs = [json.loads(line) for line in open(sys.argv[1])]
print(f"{'':14} {'GB':>7} {'rows':>12} {'cpu s':>8} {'ns a row':>9} {'peak MB':>9} {'as made':>8}")
for run in sorted(runs, key=lambda run: run["job"]):
    print(f"{run['job']:14} {run['gb']:7.2f} {run['rows']:12} {run['cpu_s']:8.2f} {run['cpu_s'] / run['rows'] * 1e9:9.0f} "
          f"{run['peak_rss_mb']:9.1f} {str(run['equal']):>8}")
if not all(run["equal"] and run["peak_rss_mb"] < 1024 for run in runs):
    sys.exit("a result is wrong or more than 1 GB was held")
PY
