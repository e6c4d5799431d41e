# prints: True True 42.0
import numpy as np, scipy.linalg, scipy.optimize, scipy.sparse.linalg
a = np.random.default_rng(0).random((600, 600)) + 600 * np.eye(600)
solved = np.allclose(a @ scipy.linalg.solve(a, np.ones(600)), 1)
eigen = np.allclose(np.linalg.eigvalsh(a + a.T).sum(), np.trace(a + a.T))
print(solved, eigen, round(float(scipy.optimize.minimize(lambda x: (x[0] - 42) ** 2, [0.0]).x[0]), 3))
