# prints: True
import lightgbm, numpy as np
x = np.random.default_rng(0).random((500, 4)); y = (x[:, 0] > .5).astype(int)
print(bool(lightgbm.LGBMClassifier(n_estimators=20, n_jobs=-1, verbose=-1).fit(x, y).score(x, y) > .95))
