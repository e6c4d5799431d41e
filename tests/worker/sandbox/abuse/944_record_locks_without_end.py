# expect: the run is killed (reason signal): the kernel's memory for locks is counted by nobody else
# group: memory
# what: Locks every other byte of a file of its own.
import fcntl
print("locking", flush=True)
with open("own", "w") as file:
    for i in range(10_000_000): fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * i)
print("ESCAPED: as many locks as it liked")
