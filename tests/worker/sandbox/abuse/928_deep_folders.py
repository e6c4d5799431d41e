# expect: status=disk, or stdout has CONTAINED: files below folders deeper than any path count, and are removed
# group: disk
# what: Nests folders far deeper than a path or a recursion reaches, then writes 1350 MB down there.
import os
home = os.getcwd()
try:
    for _ in range(1500):
        os.mkdir("d" * 200); os.chdir("d" * 200)
    for i in range(15):
        with open(str(i), "wb") as f: f.write(bytes(90 << 20))
    print("ESCAPED: 1350 MB on disk")
except OSError: print("CONTAINED")
os.chdir(home)
