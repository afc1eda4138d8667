"""The stock SDK of Feast reads from and writes to our server through its remote online store.

python feast_client.py http://127.0.0.1:PORT
"""
import sys, tempfile
from datetime import datetime, timedelta, timezone

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.remote import RemoteOnlineStoreConfig
from feast.types import Array, Float32, Float64, String

with tempfile.TemporaryDirectory() as folder:
    pd.DataFrame({"user_id": [1], "event_timestamp": [datetime.now(timezone.utc)], "fv_c_f0": [0.0]}).to_parquet(f"{folder}/x.parquet")
    store = FeatureStore(config=RepoConfig(
        project="remote", provider="local", registry=f"{folder}/registry.db", entity_key_serialization_version=3,
        online_store=RemoteOnlineStoreConfig(type="remote", path=sys.argv[1]),
    ))
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    view = FeatureView(
        name="fv_c", entities=[user], ttl=timedelta(days=36500), online=True,
        schema=[Field(name=f"fv_c_f{i}", dtype=Float64) for i in range(4)],
        source=FileSource(path=f"{folder}/x.parquet", timestamp_field="event_timestamp"),
    )
    store.apply([user, view])
    ask = lambda keys: store.get_online_features([f"fv_c:fv_c_f{i}" for i in range(4)], [{"user_id": key} for key in keys]).to_dict()

    found = ask([7, 40, 999_999])
    # Every 20th value of the server's rows is null, the others are the key over 7; the last key is unknown.
    assert found["fv_c_f0"][0] == 7 / 7.0, found
    assert found["fv_c_f0"][1] is None and found["fv_c_f1"][1] == 40 / 7.0, found
    assert found["fv_c_f3"][2] is None, found

    now = datetime.now(timezone.utc)
    rows = pd.DataFrame({"user_id": [999_999], "event_timestamp": [now], **{f"fv_c_f{i}": [i + 0.5] for i in range(4)}})
    store.write_to_online_store("fv_c", rows)
    found = ask([999_999])
    assert [found[f"fv_c_f{i}"] for i in range(4)] == [[0.5], [1.5], [2.5], [3.5]], found

    # Documents by their vectors: what was written just now is found, the nearest first.
    pd.DataFrame({"document_id": [1], "event_timestamp": [now], "embedding": [[0.0] * 4], "title": [""]}).to_parquet(f"{folder}/d.parquet")
    document = Entity(name="document", join_keys=["document_id"], value_type=ValueType.INT64)
    documents = FeatureView(
        name="documents", entities=[document], ttl=timedelta(days=36500), online=True,
        schema=[
            Field(name="embedding", dtype=Array(Float32), vector_index=True, vector_length=4, vector_search_metric="L2"),
            Field(name="title", dtype=String),
        ],
        source=FileSource(path=f"{folder}/d.parquet", timestamp_field="event_timestamp"),
    )
    store.apply([document, documents])
    store.write_to_online_store("documents", pd.DataFrame({
        "document_id": [1, 2, 3], "event_timestamp": [now] * 3, "title": ["origin", "far", "near"],
        "embedding": [[0.0] * 4, [9.0] * 4, [1.0, 0.0, 0.0, 0.0]],
    }))
    found = store.retrieve_online_documents_v2(
        features=["documents:embedding", "documents:title"], query=[0.9, 0.0, 0.0, 0.0], top_k=2, distance_metric="L2",
    ).to_dict()
    # The client puts features and distances in the order of the keys, but leaves the keys in that of the answer.
    assert sorted(found["document_id"]) == [1, 3], found
    distances = dict(zip(found["title"], found["distance"]))
    assert set(distances) == {"near", "origin"}, found
    assert abs(distances["near"] - 0.1) < 1e-6 and abs(distances["origin"] - 0.9) < 1e-6, found
    print("feast client: read, write and search agree")
