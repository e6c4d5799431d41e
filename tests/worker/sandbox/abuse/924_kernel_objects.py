# expect: status=memory, or stdout has CONTAINED: sets of semaphores and queued messages are memory as well
# group: memory
# what: Semaphore sets of 2 MB each and full message queues, which are in no process's address space.
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
size, message = 0, ctypes.create_string_buffer(b"\1" + bytes(8007))
while size < 1400 and libc.semget(0, 32000, 0o600) >= 0: size += 2
while size < 1400:
    queue = libc.msgget(0, 0o600)
    if queue < 0: break
    while libc.msgsnd(queue, message, 8000, 0o4000) == 0: size += 1 / 128
print("ESCAPED: %d MB" % size if size >= 1200 else "CONTAINED")
