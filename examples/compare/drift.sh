#!/usr/bin/env bash
# Drift of 50 columns between two tables: ours and scipy on the same files, three times each in turn; prints medians and ratios.
set -euo pipefail
peers=${1:?the folder with gen.py and drift_peers.py}
rows=${2:-500000}
. "$(dirname "$0")/setup.sh"

(cd "$peers" && "$python" gen.py drift --out "$data" --rows "$rows" >&2)
for _ in 1 2 3; do
    ours drift
    (cd "$peers" && "$python" drift_peers.py scipy --data "$data" --rows "$rows") >>"$data/lines" ||
        echo "scipy failed" >&2
done
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if run["peer"] == "mlops":
        for job in ("tests", "verdict", "profiles"):
            found = (run[f"{job}_found"], run[f"{job}_false"])
            runs.setdefault(f"mlops {job}", []).append((run[f"{job}_cpu_s"], found))
        print("unchanged by an outlier of 1e6 on either side:", run["unchanged_by_outlier"])
    elif "cpu_s" in run:
        runs.setdefault(run["peer"], []).append((run["cpu_s"], (run["tp"], run["fp"])))
middle = {job: statistics.median(cpu for cpu, _ in all) for job, all in runs.items()}
print(f"{'':22} {'cpu s':>8} {'found of 16':>12} {'false of 34':>12} {'over ours':>10}")
for job, all in runs.items():
    print(f"{job:22} {middle[job]:8.2f} {all[-1][1][0]:12} {all[-1][1][1]:12} {middle[job] / middle['mlops tests']:9.2f}x")
PY
