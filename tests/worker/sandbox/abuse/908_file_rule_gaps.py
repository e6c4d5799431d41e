# expect: stdout has CONTAINED: nothing outside of the work folders changes by any call that needs no open file
# group: filesystem
# what: Attributes, times, links, renames, truncation, extended attributes, FIFOs and handles instead of writes.
import os
hit, home = [], os.getcwd()
def state(path):
    try: s = os.lstat(path); return s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_size if os.path.isfile(path) else 0, s.st_nlink
    except OSError: return None
def attempt(name, act):
    path = name.split(" ")[-1]; before = state(path)
    try: act()
    except (OSError, NotImplementedError): return
    # a call may pretend; what counts is what it did
    if name.split(" ")[0] in ("chmod", "chown", "utime") and state(path) == before: return
    hit.append(name)
with open("mine", "w") as f: f.write("x")
targets = ["/etc/passwd", "/usr", "/usr/lib", "/proc/self", "/dev/null", os.__file__, "/tmp/sandbox_canary_host.txt", "/tmp/sandbox_canary_dir"]
for t in targets:
    attempt("chmod " + t, lambda: os.chmod(t, 0o707)); attempt("chown " + t, lambda: os.chown(t, os.getuid(), -1))
    attempt("utime " + t, lambda: os.utime(t, (1, 1))); attempt("truncate " + t, lambda: os.truncate(t, 0))
    attempt("xattr " + t, lambda: os.setxattr(t, "user.a", b"1")); attempt("rename " + t, lambda: os.rename(t, home + "/stolen"))
    attempt("over " + t, lambda: os.rename("mine", t)); attempt("link " + t, lambda: os.link(t, home + "/linked"))
    attempt("unlink " + t, lambda: os.unlink(t)); attempt("rmdir " + t, lambda: os.rmdir(t))
    folder = t if os.path.isdir(t) else os.path.dirname(t)
    if folder in ("/tmp", "/dev"): continue
    attempt("mkdir " + folder, lambda: os.mkdir(folder + "/made")); attempt("fifo " + folder, lambda: os.mkfifo(folder + "/fifo"))
    attempt("symlink " + folder, lambda: os.symlink("/", folder + "/link")); attempt("put " + folder, lambda: os.link("mine", folder + "/put"))
for name in ("mem", "sda", "vda", "loop0", "tty9"):
    attempt("mknod " + name, lambda: os.mknod(name, 0o60666, os.makedev(7, 0))); attempt("device " + name, lambda: os.close(os.open("/dev/" + name, os.O_RDWR)))
attempt("up", lambda: [os.chdir("/proc/self/root/.."), os.listdir("home")][1] or 1 / 0)
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
