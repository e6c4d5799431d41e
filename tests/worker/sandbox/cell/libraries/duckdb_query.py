# prints: [(0, 2499950000), (1, 2500000000)] 499999500000
import duckdb, pandas as pd
frame = pd.DataFrame({"i": range(100_000)})
print(duckdb.sql("select i % 2 as odd, sum(i)::bigint from frame group by odd order by odd").fetchall(), end=" ")
print(duckdb.connect("db.duckdb").execute("create table t as select range as r from range(1000000); select sum(r)::bigint from t").fetchone()[0])
