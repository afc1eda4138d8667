"""Twelve cleaning steps with pandas and scikit-learn, or the table that both sides clean.

clean.py make DIR ROWS    writes DIR/clean.parquet
clean.py run DIR          cleans it and prints one line of JSON
"""

import json
import resource
import sys
import time

import numpy as np
import pandas as pd


def make(folder, rows):
    rng = np.random.default_rng(7)
    table = {"id": rng.integers(0, rows * 10, rows), "at": rng.integers(1_700_000_000, 1_800_000_000, rows) * 1_000_000}
    table["at"] = pd.to_datetime(table["at"], unit="us", utc=True).astype("datetime64[us, UTC]")
    for i in range(16):
        values = rng.lognormal(0.0, 1.0, rows) if i % 2 else rng.normal(50.0, 10.0, rows)
        values[rng.random(rows) < 0.05] = np.nan
        table[f"n{i}"] = values
    for i in range(4):
        table[f"k{i}"] = rng.integers(0, 10 ** (i + 1), rows)
    for i, levels in enumerate([4, 12, 40]):
        names = np.array([f"level {level}" for level in range(levels)] + [None], dtype=object)
        picks = np.where(rng.random(rows) < 0.05, levels, rng.integers(0, levels, rows))
        table[f"c{i}"] = names[picks]
    table["city"] = np.array([f"city {city}" for city in range(1000)], dtype=object)[rng.integers(0, 1000, rows)]
    words = np.array(["xin", "chào", "đơn", "hàng", "giao", "nhanh", "chậm", "tốt"], dtype=object)
    table["note"] = [" ".join(pick) for pick in words[rng.integers(0, 8, (rows, 5))]]
    table["constant"] = np.full(rows, 3.0)
    table["amount"] = np.char.mod("%.2f", rng.lognormal(3.0, 1.0, rows)).astype(object)
    table["churned"] = (rng.random(rows) < 0.2).astype("int64")
    pd.DataFrame(table).to_parquet(f"{folder}/clean.parquet", index=False, row_group_size=131_072)


def run(folder):
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import (
        KBinsDiscretizer,
        OneHotEncoder,
        QuantileTransformer,
        RobustScaler,
        StandardScaler,
        TargetEncoder,
    )

    frame = pd.read_parquet(f"{folder}/clean.parquet")
    numbers = [f"n{i}" for i in range(16)]
    frame = frame.drop_duplicates("id", ignore_index=True)
    frame["amount"] = pd.to_numeric(frame["amount"])
    free = [name for name in frame.columns if name not in ("id", "at", "churned")]
    frame = frame.drop(columns=[name for name in free if frame[name].nunique(dropna=False) == 1])
    for name in numbers[:8]:
        low, high = frame[name].quantile([0.25, 0.75])
        frame[name] = frame[name].clip(low - 1.5 * (high - low), high + 1.5 * (high - low))
    filled = [*numbers, "amount"]
    frame[filled] = SimpleImputer(strategy="median").fit_transform(frame[filled])
    categories = ["c0", "c1", "c2"]
    plain = frame[categories].astype(object)
    frame[categories] = SimpleImputer(strategy="most_frequent", missing_values=np.nan).fit_transform(plain)
    hour = frame["at"].dt.hour
    seconds = hour * 3600 + frame["at"].dt.minute * 60 + frame["at"].dt.second
    frame["at_hour"] = hour
    frame["at_weekday"] = frame["at"].dt.day_of_week
    frame["at_hour_sin"] = np.sin(2 * np.pi * seconds / 86_400)
    frame["at_hour_cos"] = np.cos(2 * np.pi * seconds / 86_400)
    frame["note_chars"] = frame["note"].str.len()
    frame["note_words"] = frame["note"].str.split().str.len()
    frame = frame.drop(columns=["at", "note"])
    one_hot = OneHotEncoder(sparse_output=False, dtype=bool).fit(frame[categories])
    hot = pd.DataFrame(one_hot.transform(frame[categories]), columns=one_hot.get_feature_names_out())
    frame = pd.concat([frame.drop(columns=categories), hot], axis=1)
    target = TargetEncoder(target_type="binary").fit(frame[["city"]], frame["churned"])
    frame["city"] = target.transform(frame[["city"]])[:, 0]
    whole = [f"k{i}" for i in range(4)]
    bins = KBinsDiscretizer(10, encode="ordinal", strategy="quantile", quantile_method="linear", subsample=None)
    frame[whole] = bins.fit_transform(frame[whole])
    frame[numbers[:8]] = StandardScaler().fit_transform(frame[numbers[:8]])
    frame[numbers[8:12]] = RobustScaler().fit_transform(frame[numbers[8:12]])
    frame[numbers[12:]] = QuantileTransformer(n_quantiles=1000).fit_transform(frame[numbers[12:]])
    counted = hot.to_numpy().sum() + frame[["at_hour", "note_chars", "note_words"]].to_numpy().sum()
    return {
        "rows": len(frame),
        "columns": frame.shape[1],
        "whole": int(counted),
        "city": round(float(frame["city"].sum()), 1),
        "scaled": round(float(frame[numbers].abs().to_numpy().sum())),
    }


def main():
    if sys.argv[1] == "make":
        make(sys.argv[2], int(sys.argv[3]))
        return
    # Importing the libraries is not the peers' work on the table.
    import pyarrow  # noqa: F401
    import sklearn.impute  # noqa: F401
    import sklearn.preprocessing  # noqa: F401

    before, wall = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    figures = run(sys.argv[2])
    after = resource.getrusage(resource.RUSAGE_SELF)
    figures["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures["wall_s"] = time.perf_counter() - wall
    figures["peak_rss_mb"] = after.ru_maxrss / 1024
    print(json.dumps({"peer": "scikit-learn", **figures}))


main()
