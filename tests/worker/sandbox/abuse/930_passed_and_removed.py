# expect: status=disk, or stdout has CONTAINED: a removed file whose descriptor is on its way counts, or cannot be sent
# group: disk
# what: Fills a file, removes it, and puts its descriptor into a socket pair, 15 times.
import os, socket, time
a, b = socket.socketpair()
try:
    for _ in range(15):
        fd = os.open("x", os.O_CREAT | os.O_RDWR); os.unlink("x"); os.write(fd, bytes(90 << 20))
        socket.send_fds(a, [b"x"], [fd]); os.close(fd)
    time.sleep(0.3); print("ESCAPED: 1350 MB on disk")
except OSError: print("CONTAINED")
