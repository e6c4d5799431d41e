# prints: [0.0, 1.0, 2.0] 249500 30
import dask, dask.array as da, dask.dataframe as dd, pandas as pd
frame = dd.from_pandas(pd.DataFrame({"g": [i % 3 for i in range(300)], "v": [float(i % 3) for i in range(300)]}), npartitions=8)
print(frame.groupby("g").v.mean().compute().sort_index().tolist(), end=" ")
print(int(da.arange(1000, chunks=100).sum().compute() / 2 - 250), sum(dask.compute(*[dask.delayed(int)(3) for _ in range(10)], scheduler="threads")))
