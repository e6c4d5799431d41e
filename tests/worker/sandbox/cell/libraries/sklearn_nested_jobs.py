# prints: True
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score
import numpy as np
x = np.random.default_rng(0).random((200, 4)); y = (x[:, 0] > .5).astype(int)
print(bool(cross_val_score(RandomForestClassifier(10, n_jobs=2), x, y, n_jobs=2).mean() > .7))
