"""Nearest neighbours by numpy, and by FAISS and hnswlib where they are installed: `vector_peers.py FOLDER`."""

import json
import sys
import time

import numpy

folder = sys.argv[1]
shape = json.load(open(f"{folder}/shape.json"))
vectors = numpy.fromfile(f"{folder}/vectors.f32", "<f4").reshape(-1, shape["dimensions"])
queries = numpy.fromfile(f"{folder}/queries.f32", "<f4").reshape(-1, shape["dimensions"])
K = 10
EFFORTS = (32, 64, 128, 256)


def timed(work):
    start = time.process_time()
    done = work()
    return done, time.process_time() - start


def tell(peer, figures):
    print(json.dumps({"peer": peer, **figures}), flush=True)


def recall(truth, told):
    return float(numpy.mean([len(numpy.intersect1d(a, b)) / K for a, b in zip(truth, told)]))


def nearest_rows(squares):
    few = numpy.argpartition(squares, K, axis=-1)[..., :K]
    order = numpy.argsort(numpy.take_along_axis(squares, few, -1), axis=-1)
    return numpy.take_along_axis(few, order, -1)


lengths = (vectors * vectors).sum(1)
some = queries[:200]
one, alone = timed(lambda: [nearest_rows(lengths - 2 * (vectors @ query)) for query in some])
truth, together = timed(
    lambda: numpy.vstack([nearest_rows(lengths - 2 * (block @ vectors.T)) for block in numpy.array_split(queries, 20)])
)
tell(
    f"numpy {numpy.__version__}",
    {
        "exact_us": alone / len(some) * 1e6,
        "exact_together_us": together / len(queries) * 1e6,
        "checksum": int(truth.sum()),
    },
)

try:
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatL2(shape["dimensions"])
    _, build = timed(lambda: flat.add(vectors))
    (_, told), spent = timed(lambda: flat.search(queries, K))
    figures = {"exact_build_cpu_s": build, "exact_together_us": spent / len(queries) * 1e6, "checksum": int(told.sum())}
    graph = faiss.IndexHNSWFlat(shape["dimensions"], 16)
    graph.hnsw.efConstruction = 128
    _, figures["hnsw_build_cpu_s"] = timed(lambda: graph.add(vectors))
    for effort in EFFORTS:
        graph.hnsw.efSearch = effort
        told, spent = timed(lambda: numpy.vstack([graph.search(query[None], K)[1] for query in queries]))
        figures[f"hnsw_{effort}_us"] = spent / len(queries) * 1e6
        figures[f"hnsw_{effort}_recall"] = recall(truth, told)
    tell(f"faiss {faiss.__version__}", figures)
except ImportError:
    print("SKIPPED: no faiss", file=sys.stderr)

try:
    import hnswlib

    graph = hnswlib.Index("l2", shape["dimensions"])
    graph.set_num_threads(1)
    graph.init_index(len(vectors), ef_construction=128, M=16)
    _, build = timed(lambda: graph.add_items(vectors, num_threads=1))
    figures = {"hnsw_build_cpu_s": build}
    for effort in EFFORTS:
        graph.set_ef(effort)
        told, spent = timed(lambda: numpy.vstack([graph.knn_query(query, K, num_threads=1)[0] for query in queries]))
        figures[f"hnsw_{effort}_us"] = spent / len(queries) * 1e6
        figures[f"hnsw_{effort}_recall"] = recall(truth, told)
    tell("hnswlib", figures)
except ImportError:
    print("SKIPPED: no hnswlib", file=sys.stderr)
