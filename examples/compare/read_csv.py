"""The data of the CSV comparison, and polars' side of it.

`read_csv.py make DIR ROWS` writes DIR/rows.csv: 20 columns of numbers, texts (some between quotes), days, times and booleans, a tenth of the
cells of half of them empty. `read_csv.py run DIR` reads it with types inferred and prints one line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path


def make(folder: Path, rows: int) -> None:
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(7)
    names = np.array(["Nguyễn Văn An", "Lê Thị Bình", "Trần, Cường", 'Phạm "Dũng"', "Hoàng Hà", "Đỗ Minh"])
    cities = np.array(["hanoi", "hcmc", "danang", "hue", "cantho"])
    start = np.datetime64("2024-01-01T00:00:00")
    times = start + rng.integers(0, 60_000_000, rows).astype("timedelta64[s]")
    columns = {
        "id": np.arange(rows),
        "customer": rng.integers(0, 10**9, rows),
        "offer": rng.integers(0, 5_000, rows),
        "quantity": rng.integers(1, 9, rows),
        "delta": rng.integers(-10**6, 10**6, rows),
        "at_ms": rng.integers(1_704_067_200_000, 1_764_067_200_000, rows),
        "price": np.round(rng.gamma(2.0, 50_000.0, rows), 2),
        "score": rng.random(rows),
        "lat": np.round(rng.uniform(8, 23, rows), 6),
        "lon": np.round(rng.uniform(102, 110, rows), 6),
        "rate": np.round(rng.normal(0, 1, rows), 4),
        "day": times.astype("datetime64[D]"),
        "seen": times.astype("datetime64[us]"),
        "active": rng.random(rows) < 0.5,
        "paid": rng.random(rows) < 0.1,
        "city": cities[rng.integers(0, len(cities), rows)],
        "name": names[rng.integers(0, len(names), rows)],
        "code": np.char.add("K", rng.integers(10**7, 10**8, rows).astype(str)),
        "note": np.char.add("order of ", cities[rng.integers(0, len(cities), rows)]),
        "channel": np.array(["web", "app", "shop"])[rng.integers(0, 3, rows)],
    }
    table = pl.DataFrame(columns)
    gaps = ["offer", "delta", "price", "score", "rate", "seen", "paid", "city", "name", "note"]
    masks = {name: pl.Series(rng.random(rows) < 0.1) for name in gaps}
    table = table.with_columns(pl.when(masks[name]).then(None).otherwise(pl.col(name)).alias(name) for name in gaps)
    table.write_csv(folder / "rows.csv", datetime_format="%Y-%m-%dT%H:%M:%S")


def run(folder: Path) -> None:
    import polars as pl

    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    table = pl.read_csv(folder / "rows.csv", try_parse_dates=True, infer_schema_length=10_000)
    nonnull = sum(table.height - n for n in table.null_count().row(0))
    sums = table.select(pl.col(pl.Int64, pl.Float64).cast(pl.Float64).sum()).row(0)
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {"peer": "polars", "rows": table.height, "nonnull": nonnull, "sum": float(round(sum(sums)))}
    print(json.dumps(figures | {"cpu_s": cpu, "wall_s": wall, "peak_rss_mb": after.ru_maxrss / 1024}))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        run(Path(sys.argv[2]))
