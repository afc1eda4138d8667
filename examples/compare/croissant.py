#!/usr/bin/env python3
"""Has the package mlcroissant judge Croissant documents, and reads the records that they describe.

usage: croissant.py DOCUMENT...
Prints one JSON line per document: what is wrong with it, warnings included, and its records. Exits with 1 where something is
wrong, and with 3 where the package is not installed (checked with mlcroissant 1.1.1).
"""
import json
import logging
import sys

logging.disable(logging.CRITICAL)
try:
    import mlcroissant
    import pandas
except ImportError as missing:
    print(f"SKIPPED: {missing}; install mlcroissant and pyarrow to have documents judged", file=sys.stderr)
    sys.exit(3)


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, pandas.Timestamp):
        return value.isoformat()
    if value is None or value is pandas.NaT or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def judged(path):
    dataset = mlcroissant.Dataset(jsonld=path)
    issues = dataset.metadata.ctx.issues
    wrong = sorted(issues.errors) + sorted(issues.warnings)
    records = [
        {key: plain(value) for key, value in record.items()}
        for record_set in dataset.metadata.record_sets
        for record in dataset.records(record_set=record_set.id)
    ]
    return wrong, records


failed = False
for path in sys.argv[1:]:
    try:
        wrong, records = judged(path)
    except Exception as error:  # whatever it is, it is about this document
        wrong, records = [f"{type(error).__name__}: {error}"], []
    failed |= bool(wrong)
    print(json.dumps({"document": path, "wrong": wrong, "records": records}, ensure_ascii=False))
sys.exit(failed)
