# expect: stdout has CONTAINED: nothing of init's can be opened, no kernel setting can be written
# group: filesystem
# what: The entries of /proc that have let containers out or told too much.
import glob, os
hit = []
def attempt(path, flags):
    try:
        fd = os.open(path, flags | os.O_NONBLOCK)
    except OSError: return
    try:
        if flags == os.O_RDONLY and not os.read(fd, 1): return
    except OSError: return
    finally: os.close(fd)
    hit.append("%s %s" % ("read" if flags == os.O_RDONLY else "write", path))
for name in ("mem", "environ", "maps", "auxv", "stack", "syscall", "root/etc/passwd", "cwd", "fd/0", "map_files"): attempt("/proc/1/" + name, os.O_RDONLY)
for name in ("mem", "attr/current", "oom_score_adj", "comm", "timerslack_ns", "uid_map", "setgroups", "clear_refs", "coredump_filter"): attempt("/proc/1/" + name, os.O_WRONLY)
for name in ("uid_map", "gid_map", "setgroups", "projid_map", "oom_score_adj", "attr/current", "attr/exec", "sched", "autogroup", "make-it-fail", "loginuid"): attempt("/proc/self/" + name, os.O_WRONLY)
for name in ("sysrq-trigger", "sys/kernel/core_pattern", "sys/kernel/modprobe", "sys/kernel/hostname", "sys/kernel/ns_last_pid", "sys/vm/drop_caches", "sys/vm/overcommit_memory",
             "sys/fs/binfmt_misc/register", "sys/net/ipv4/ip_forward", "sys/user/max_user_namespaces", "irq/default_smp_affinity", "mtrr", "acpi/wakeup", "scsi/scsi"): attempt("/proc/" + name, os.O_WRONLY)
for name in ("kcore", "kmsg", "vmallocinfo", "slabinfo", "iomem_", "timer_list", "kpageflags", "kpagecount", "page_owner", "sysvipc_"): attempt("/proc/" + name, os.O_RDONLY)
for link in glob.glob("/proc/[0-9]*/root") + glob.glob("/proc/[0-9]*/cwd"):
    try:
        if os.stat(link).st_dev != os.stat("/").st_dev and os.path.exists(link + "/home"): hit.append("root " + link)
    except OSError: pass
print("ESCAPED: " + ", ".join(hit) if hit else "CONTAINED")
