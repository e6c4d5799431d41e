# prints: 499999500000 True
import numba, numpy as np
@numba.njit(parallel=True)
def total(values):
    found = 0
    for i in numba.prange(values.size):
        found += values[i]
    return found
@numba.vectorize(["float64(float64)"], target="parallel")
def double(x): return x * 2
print(total(np.arange(1_000_000)), bool((double(np.ones(10_000)) == 2).all()))
