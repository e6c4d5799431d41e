# expect: stdout has CONTAINED: no lock of any kind on a file that the host has, too, by which host programs and neighbours could be held up
# group: neighbours
# what: flock, locks of open files, from threads and children, on libraries, folders and devices, by descriptors that only read.
import fcntl, os, struct, sys, sysconfig
hit = []
paths = ["/dev/null", "/dev/zero", os.path.realpath(sys.executable), "/etc/ssl/certs", "/usr/bin", os.__file__, sysconfig.get_path("stdlib"), "/proc/version", "/", "/proc/self/exe"]
def attempt():
    for path in paths:
        try: fd = os.open(path, os.O_RDONLY)
        except OSError: continue
        for kind in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            try: fcntl.flock(fd, kind | fcntl.LOCK_NB); hit.append("flock " + path)
            except OSError: pass
        for command in (37, 38):  # F_OFD_SETLK, F_OFD_SETLKW
            try: fcntl.fcntl(fd, command, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 1, 0)); hit.append("open file lock " + path)
            except OSError: pass
attempt()
pid = os.fork()
if pid == 0:
    hit.clear(); attempt(); os._exit(len(hit) > 0)
if os.waitpid(pid, 0)[1]: hit.append("in a child")
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED", flush=True)
import time; time.sleep(0.5)
