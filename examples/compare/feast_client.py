"""The stock SDK of Feast reads from and writes to our server through its remote online store.

python feast_client.py http://127.0.0.1:PORT
"""
import sys, tempfile
from datetime import datetime, timedelta, timezone

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.remote import RemoteOnlineStoreConfig
from feast.types import Float64

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
    print("feast client: read and write agree")
