# expect: stdout has CONTAINED: no shared memory, semaphore or queue of others is reached by its number
# group: ipc
# what: Attaches and removes System V objects by counting up their numbers, which needs no get call.
import ctypes
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p
hit, buffer = [], ctypes.create_string_buffer(4096)
for index in range(64):
    number = libc.shmctl(index, 13, buffer)
    if number < 0: continue
    place = libc.shmat(number, None, 0o10000)
    hit.append("shared memory %d: %r" % (number, ctypes.string_at(place, 17) if place not in (None, 2**64 - 1) else b""))
    libc.shmctl(number, 0, None)
for index in range(64):
    for name, call, stat in (("semaphore", libc.semctl, 18), ("queue", libc.msgctl, 11)):
        number = call(index, 0, stat, buffer) if name == "semaphore" else call(index, stat, buffer)
        if number >= 0: hit.append("%s %d" % (name, number))
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
