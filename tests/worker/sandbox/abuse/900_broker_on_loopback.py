# expect: stdout has CONTAINED: the broker's port on the worker's loopback cannot be reached
# group: network
# what: Talks to the server that the worker itself uses.
import socket
hit = []
for host in ("127.0.0.1", "localhost", "::1"):
    try:
        with socket.create_connection((host, 6379), 2) as s:
            s.sendall(b"PING\r\n"); hit.append("%s %r" % (host, s.recv(64)))
    except OSError as e: err = e
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED: %s" % err)
