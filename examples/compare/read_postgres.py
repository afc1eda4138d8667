"""The table of the PostgreSQL comparison, and the peers' side of it.

`read_postgres.py load DIR` fills the table `bench_rows` from DIR/rows.csv, at the URL in DIR/postgres.url; `drop DIR` removes it.
`read_postgres.py adbc|connectorx|pandas DIR` reads it in the order of its key and prints one line of JSON.
"""

import json
import resource
import sys
import time
from pathlib import Path

TABLE = """CREATE TABLE bench_rows (id bigint PRIMARY KEY, customer integer, offer integer, quantity smallint, delta integer, at_ms bigint,
price numeric(12, 2), score float8, lat float8, lon float8, rate float8, day date, seen timestamptz, active boolean, paid boolean, city text,
name text, code text, note text, channel text)"""
QUERY = "SELECT * FROM bench_rows ORDER BY id"


def load(url: str, folder: Path) -> None:
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_rows")
        cursor.execute("SET timezone = 'UTC'")
        cursor.execute(TABLE)
        with cursor.copy("COPY bench_rows FROM STDIN (FORMAT csv, HEADER)") as copy, open(folder / "rows.csv", "rb") as rows:
            while piece := rows.read(1 << 20):
                copy.write(piece)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE bench_rows")


def drop(url: str) -> None:
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS bench_rows")


def batches(peer: str, url: str):
    """Record batches of the whole table."""
    if peer == "adbc":
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            yield from cursor.fetch_record_batch()
    else:
        import connectorx

        yield from connectorx.read_sql(url, QUERY, return_type="arrow", protocol="binary").to_batches()


def arrow_totals(peer: str, url: str) -> tuple[int, int, float]:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = nonnull = 0
    total = 0.0
    for batch in batches(peer, url):
        rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns):
            nonnull += len(column) - column.null_count
            if name != "price" and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
                total += pc.sum(pc.cast(column, pa.float64())).as_py() or 0.0
    return rows, nonnull, total


def pandas_totals(url: str) -> tuple[int, int, float]:
    import pandas as pd
    import psycopg

    with psycopg.connect(url) as connection, connection.cursor(binary=True) as cursor:
        cursor.execute(QUERY)
        frame = pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
    numbers = frame.select_dtypes("number").drop(columns="price", errors="ignore")
    return len(frame), int(frame.count().sum()), float(numbers.sum().sum())


def run(peer: str, url: str) -> None:
    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    rows, nonnull, total = pandas_totals(url) if peer == "pandas" else arrow_totals(peer, url)
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - wall
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {"peer": peer, "rows": rows, "nonnull": nonnull, "sum": float(round(total))}
    print(json.dumps(figures | {"cpu_s": cpu, "wall_s": wall, "peak_rss_mb": after.ru_maxrss / 1024}))


if __name__ == "__main__":
    job, folder = sys.argv[1], Path(sys.argv[2])
    url = (folder / "postgres.url").read_text().strip()
    if job == "load":
        load(url, folder)
    elif job == "drop":
        drop(url)
    else:
        run(job, url)
