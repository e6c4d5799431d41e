# prints: 100000 4999950000 [25000, 25000, 25000, 25000]
import pyarrow as pa, pyarrow.compute as pc, pyarrow.dataset as ds, pyarrow.parquet as pq
table = pa.table({"i": range(100_000), "key": [i % 4 for i in range(100_000)]})
pq.write_table(table, "t.parquet", row_group_size=1000)
back = pq.read_table("t.parquet")
groups = ds.dataset("t.parquet").to_table().group_by("key").aggregate([("i", "count")]).sort_by("key")
print(back.num_rows, pc.sum(back["i"]).as_py(), groups["i_count"].to_pylist())
