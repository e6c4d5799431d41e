# prints: 2 [714264285, 714278571]
import polars as pl
height = pl.DataFrame({"a": [1, 2, 3]}).lazy().filter(pl.col("a") > 1).collect().height
frame = pl.DataFrame({"group": [i % 7 for i in range(100_000)], "value": range(100_000)})
sums = frame.lazy().group_by("group").agg(pl.col("value").sum()).sort("group").collect()
print(height, sums["value"].to_list()[:2])
