# expect: stdout has ok: names of services and protocols are known, as on any machine
# group: legitimate
# what: socket.getservbyname and its kin, which read /etc/services and /etc/protocols.
import socket
found = socket.getservbyname("http"), socket.getservbyname("https", "tcp"), socket.getservbyport(22), socket.getprotobyname("tcp")
print("ok" if found == (80, 443, "ssh", 6) else "broken %r" % (found,))
