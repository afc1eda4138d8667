#!/usr/bin/env bash
# Personal data in text and in a column: ours with all kinds, Presidio with six and sixteen recognisers, one Python `re`.
set -euo pipefail
peers=${1:?the folder with gen.py and pii_peers.py}
rows=${2:-1000000}
. "$(dirname "$0")/setup.sh"

(cd "$peers" && "$python" gen.py pii --out "$data" --rows "$rows" --mb 10 >&2)
for _ in 1 2 3; do
    ours pii
done
# The peers are slow: Presidio gets 200 kB and 5 000 rows, and is linear in both.
(cd "$peers" && "$python" pii_peers.py re --data "$data" --mb 10 --rows "$rows") >>"$data/lines" || echo "re failed" >&2
for peer in presidio presidio_all; do
    (cd "$peers" && "$python" pii_peers.py $peer --data "$data" --mb 0.2 --rows 5000) >>"$data/lines" ||
        echo "$peer failed: is presidio-analyzer installed?" >&2
done
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
text, column = {}, {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    if run.get("error"):
        continue
    # The peers name what they ran on, too.
    peer = run["peer"]
    for ran_on in (" text", " column", " alternation"):
        peer = peer.split(ran_on)[0]
    if peer == "mlops":
        text.setdefault("mlops", []).append(run["text_mb_per_cpu_s"])
        column.setdefault("mlops", []).append(run["column_rows_per_cpu_s"])
    elif run["case"] == "pii_text":
        text.setdefault(peer, []).append(run["mb_per_cpu_s"])
    else:
        column.setdefault(peer, []).append(run["rows_per_cpu_s"])
middle = lambda runs, peer: statistics.median(runs[peer]) if peer in runs else float("nan")
print(f"{'':28} {'text MB/cpu s':>14} {'ratio':>8} {'column rows/cpu s':>18} {'ratio':>8}")
for peer in text:
    t, c = middle(text, peer), middle(column, peer)
    print(f"{peer:28} {t:14.2f} {middle(text, 'mlops') / t:7.0f}x {c:18.0f} {middle(column, 'mlops') / c:7.0f}x")
PY
