# prints: 4950
from concurrent.futures import ThreadPoolExecutor
import time
with ThreadPoolExecutor(max_workers=20) as pool:
    print(sum(pool.map(lambda i: time.sleep(.01) or i, range(100))))
