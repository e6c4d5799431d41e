# expect: stdout has CONTAINED: a cell learns nothing of what others on the machine read
# group: neighbours
# what: Asks for dnotify signals, fcntl(F_NOTIFY), and for leases on folders and files of the host, and waits for others to touch them.
import fcntl, os, signal, sysconfig, time
root = sysconfig.get_path("stdlib")
folders = [os.path.join(root, n) for n in ("wsgiref", "xmlrpc", "curses", "sqlite3")] + ["/usr/share/zoneinfo", "/etc/ssl/certs", "."]
hit, sigs = [], {}
for i, f in enumerate(folders):
    sig = signal.SIGRTMIN + 1 + i
    signal.pthread_sigmask(signal.SIG_BLOCK, {sig})
    try:
        fd = os.open(f, os.O_RDONLY)
        try: fcntl.fcntl(fd, 10, sig)  # F_SETSIG
        except OSError: pass
        fcntl.fcntl(fd, fcntl.F_NOTIFY, fcntl.DN_ACCESS | fcntl.DN_MODIFY | fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_MULTISHOT)
        sigs[sig] = f; hit.append("F_NOTIFY on " + f)
    except OSError: pass
for path in (os.__file__, "own"):
    if path == "own": open(path, "w").close()
    fd = os.open(path, os.O_RDONLY)
    for name, command in (("F_SETLEASE", 1024), ("F_SETDELEG", 1040)):
        try: fcntl.fcntl(fd, command, fcntl.F_RDLCK); hit.append("%s on %s" % (name, path))
        except OSError: pass
print("watching", flush=True)
end = time.monotonic() + 1
while time.monotonic() < end:
    if info := signal.sigtimedwait(sigs or {signal.SIGUSR1}, 0.2): hit.append("saw others read " + sigs.get(info.si_signo, "?"))
print("ESCAPED: " + "; ".join(hit[:12]) if hit else "CONTAINED")
