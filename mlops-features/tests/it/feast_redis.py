"""Writes rows to Redis as Feast does, or prints those that Feast finds there, one JSON line each.

python feast_redis.py write|read HOST:PORT PROJECT KEY...
"""
import base64, json, struct, sys
from datetime import datetime, timedelta, timezone

from feast import Entity, FeatureView, Field, RepoConfig
from feast.data_source import PushSource
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import DoubleList, FloatList, Int64List, StringList, Value
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from feast.value_type import ValueType

verb, place, project, *keys = sys.argv[1:]
types = {
    "flag": Bool, "small": Int32, "big": Int64, "short": Float32, "real": Float64, "text": String, "raw": Bytes, "seen": UnixTimestamp,
    "whole": Array(Int64), "reals": Array(Float64), "texts": Array(String), "point": Array(Float32), "none": Int64,
}
user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
view = FeatureView(
    name="stats", entities=[user], ttl=timedelta(0), schema=[Field(name="user_id", dtype=Int64)] + [Field(name=n, dtype=t) for n, t in types.items()],
    source=FileSource(path="nowhere.parquet", timestamp_field="event_timestamp"),
)
config = RepoConfig(
    project=project, provider="local", registry="nowhere.db", entity_key_serialization_version=3,
    online_store=RedisOnlineStoreConfig(connection_string=place),
)
store = RedisOnlineStore()
entity_key = lambda key: EntityKey(join_keys=["user_id"], entity_values=[Value(int64_val=int(key))])

if verb == "write":
    def row(key):
        return {
            "flag": Value(bool_val=key % 2 == 1), "small": Value(int32_val=-key), "big": Value(int64_val=key - 2**63),
            "short": Value(float_val=key + 0.5), "real": Value(double_val=key + 0.25), "text": Value(string_val=f"é{key}"),
            "raw": Value(bytes_val=bytes([0, 255, key])), "seen": Value(unix_timestamp_val=-key), "whole": Value(int64_list_val=Int64List(val=[key, -key])),
            "reals": Value(double_list_val=DoubleList(val=[key + 0.5])), "texts": Value(string_list_val=StringList(val=["a", "", str(key)])),
            "point": Value(float_list_val=FloatList(val=[key, -key])), "none": Value(),
        }
    at = lambda key: datetime.fromtimestamp(1_700_000_000 + key, timezone.utc) + timedelta(microseconds=123_456)
    store.online_write_batch(config, view, [(entity_key(key), row(int(key)), at(int(key)), None) for key in keys], None)
else:
    def plain(value):
        kind = value.WhichOneof("val")
        if kind is None:
            return None
        found = getattr(value, kind)
        if kind == "bytes_val":
            return base64.b64encode(found).decode()
        if kind == "double_val":
            return struct.pack(">d", found).hex()
        return list(found.val) if kind.endswith("_list_val") else found
    for time, found in store.online_read(config, view, [entity_key(key) for key in keys], list(types)):
        micros = None if time is None else round((time.replace(tzinfo=timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)) / timedelta(microseconds=1))
        print(json.dumps({"time": micros, "values": None if found is None else {name: plain(value) for name, value in found.items()}}))
