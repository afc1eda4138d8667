#!/usr/bin/env bash
# Ten nearest neighbours by L2: ours exact and by graph, numpy one query at a time and all at once, and FAISS and hnswlib where they
# are installed, on the same vectors, one thread each, three times in turn; prints medians, and what each finds of the nearest.
set -euo pipefail
count=${1:-100000}
dimensions=${2:-128}
queries=${3:-1000}
. "$(dirname "$0")/setup.sh"
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

"$python" - "$data" "$count" "$dimensions" "$queries" <<'PY'
import json, sys
import numpy
folder, count, dimensions, queries = sys.argv[1], *map(int, sys.argv[2:])
# A thousand clouds, as embeddings of things of a thousand kinds: near ones are much nearer than others.
random = numpy.random.default_rng(7)
centres = random.normal(size=(1000, dimensions))
cloud = lambda n: (centres[random.integers(0, 1000, n)] + 0.5 * random.normal(size=(n, dimensions))).astype("<f4")
cloud(count).tofile(f"{folder}/vectors.f32")
cloud(queries).tofile(f"{folder}/queries.f32")
json.dump({"vectors": count, "dimensions": dimensions, "queries": queries}, open(f"{folder}/shape.json", "w"))
PY
for _ in 1 2 3; do
    ours vector-search
    "$python" "$here/vector_peers.py" "$data" >>"$data/lines"
done
"$python" - "$data/lines" <<'PY'
import json, statistics, sys
runs = {}
for line in open(sys.argv[1]):
    run = json.loads(line)
    for name, value in run.items():
        if isinstance(value, (int, float)):
            runs.setdefault((run["peer"], name), []).append(value)
middle = lambda peer, name: statistics.median(runs[peer, name])
ours = {"exact": middle("mlops", "exact_us"), "graph": middle("mlops", "graph_128_us")}
sums = {peer: values[0] for (peer, name), values in runs.items() if name == "checksum"}
print(f"{'':34} {'us a query':>11} {'recall@10':>10} {'build cpu s':>12} {'query ratio':>12}")
for peer, name in runs:
    if not name.endswith("_us"):
        continue
    kind = name.removesuffix("_us")
    recall = middle(peer, f"{kind}_recall") if (peer, f"{kind}_recall") in runs else 1.0
    family = kind.split("_")[0]
    build = middle(peer, f"{family}_build_cpu_s") if (peer, f"{family}_build_cpu_s") in runs else 0.0
    against = ours["graph" if family in ("graph", "hnsw") else "exact"]
    print(f"{peer + ' ' + kind:34} {middle(peer, name):11.1f} {recall:10.4f} {build:12.2f} {middle(peer, name) / against:11.2f}x")
print("sums of the exact neighbours:", sums)
PY
