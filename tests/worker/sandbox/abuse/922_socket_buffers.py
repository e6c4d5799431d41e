# expect: status=memory, or stdout has CONTAINED: what lies in sockets has a limit, too
# group: memory
# what: Connections to itself and datagrams, in several processes, that nobody reads; the kernel holds them.
import os, resource, socket, sys
def held(): return sum(int(line.split(" mem ")[1].split()[0]) for line in open("/proc/net/sockstat") if " mem " in line) * resource.getpagesize() >> 20
try: server, before = socket.create_server(("127.0.0.1", 0)), held()
except OSError:
    print("CONTAINED"); sys.exit()
def fill():
    keep, chunk = [], bytes(1 << 16)
    try:
        while held() - before < 900:
            a = socket.socket(); a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 30); a.connect(server.getsockname())
            b, _ = server.accept(); b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30)
            u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 30); u.bind(("127.0.0.1", 0)); keep += [a, b, u]
            for s in (a, b):
                s.setblocking(False)
                try:
                    while s.send(chunk): pass
                except OSError: pass
            for _ in range(20):
                try: a2 = keep[2].sendto(chunk[:60000], socket.MSG_DONTWAIT, u.getsockname())
                except OSError: break
    except OSError: pass
    return keep
children = []
for _ in range(4):
    r, w = os.pipe(); children.append((r, w))
    if os.fork() == 0:
        keep = fill(); os.write(w, b"x"); os.read(children[0][0], 0); signal = __import__("signal"); signal.pause()
for r, _ in children: os.read(r, 1)
grown = held() - before
__import__("time").sleep(0.3)
print("ESCAPED: %d MB in sockets" % grown if grown > 500 else "CONTAINED")
