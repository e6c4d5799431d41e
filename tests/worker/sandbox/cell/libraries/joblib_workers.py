# prints: [0, 1, 4, 9, 16, 25, 36, 49] [0, 1, 4, 9]
from joblib import Parallel, delayed
def square(i): return i * i
print(Parallel(n_jobs=-1)(delayed(square)(i) for i in range(8)), Parallel(n_jobs=4, prefer="threads")(delayed(square)(i) for i in range(4)))
