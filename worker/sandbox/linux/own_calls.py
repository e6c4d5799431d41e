"""The system calls that act on nothing but what is the cell's own, by name and by number on each architecture.

Every call of Linux 6.18 was gone through with the question whose the thing is that it acts on; docs/decisions/
system-calls.md tells the rule and the answers.
"""

from __future__ import annotations

from typing import Final

from .syscall_table import Call

#: name, number on x86_64, number on aarch64
_TABLE: Final = (
    # reading, writing and moving bytes
    "read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70 "
    "lseek:8:62 sendfile:40:71 splice:275:76 tee:276:77 copy_file_range:326:285 readahead:187:213 "
    # descriptors
    "open:2:- openat:257:56 openat2:437:437 creat:85:- close:3:57 close_range:436:436 dup:32:23 dup2:33:- "
    "dup3:292:24 pipe:22:- pipe2:293:59 fallocate:285:47 ftruncate:77:46 truncate:76:45 fsync:74:82 fdatasync:75:83 "
    "sync_file_range:277:84 msync:26:227 "
    # names and attributes of files, which the mounts and Landlock guard
    "access:21:- faccessat:269:48 faccessat2:439:439 stat:4:- lstat:6:- fstat:5:80 newfstatat:262:79 statx:332:291 "
    "statfs:137:43 fstatfs:138:44 getdents:78:- getdents64:217:61 getcwd:79:17 chdir:80:49 fchdir:81:50 mkdir:83:- "
    "mkdirat:258:34 rmdir:84:- rename:82:- renameat:264:38 renameat2:316:276 link:86:- linkat:265:37 unlink:87:- "
    "unlinkat:263:35 symlink:88:- symlinkat:266:36 readlink:89:- readlinkat:267:78 mknod:133:- mknodat:259:33 "
    "umask:95:166 getxattr:191:8 lgetxattr:192:9 fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 "
    "flistxattr:196:13 getxattrat:464:464 listxattrat:465:465 file_getattr:468:468 "
    # waiting
    "poll:7:- ppoll:271:73 select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 "
    "epoll_wait:232:- epoll_pwait:281:22 epoll_pwait2:441:441 eventfd:284:- eventfd2:290:19 signalfd:282:- "
    "signalfd4:289:74 timerfd_create:283:85 timerfd_settime:286:86 timerfd_gettime:287:87 pause:34:- "
    # memory of the caller
    "mmap:9:222 mprotect:10:226 munmap:11:215 mremap:25:216 brk:12:214 mincore:27:232 mlock:149:228 mlock2:325:284 "
    "munlock:150:229 mlockall:151:230 munlockall:152:231 pkey_alloc:330:289 pkey_free:331:290 pkey_mprotect:329:288 "
    "mseal:462:462 map_shadow_stack:453:453 get_mempolicy:239:236 "
    # threads and processes of the cell
    "fork:57:- vfork:58:- execve:59:221 execveat:322:281 exit:60:93 exit_group:231:94 wait4:61:260 waitid:247:95 "
    "kill:62:129 tkill:200:130 tgkill:234:131 rt_sigqueueinfo:129:138 rt_tgsigqueueinfo:297:240 pidfd_open:434:434 "
    "pidfd_send_signal:424:424 getpid:39:172 getppid:110:173 gettid:186:178 getpgid:121:155 setpgid:109:154 "
    "getpgrp:111:- getsid:124:156 setsid:112:157 set_tid_address:218:96 futex:202:98 futex_waitv:449:449 "
    "futex_wake:454:454 futex_wait:455:455 futex_requeue:456:456 set_robust_list:273:99 get_robust_list:274:100 "
    "rseq:334:293 membarrier:324:283 sched_yield:24:124 sched_getaffinity:204:123 sched_getparam:143:121 "
    "sched_getscheduler:145:120 sched_getattr:315:275 sched_get_priority_max:146:125 sched_get_priority_min:147:126 "
    "sched_rr_get_interval:148:127 getpriority:140:141 ioprio_get:252:31 getcpu:309:168 arch_prctl:158:- "
    # signals
    "rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigtimedwait:128:137 "
    "rt_sigsuspend:130:133 sigaltstack:131:132 restart_syscall:219:128 "
    # clocks and timers
    "gettimeofday:96:169 time:201:- times:100:153 clock_gettime:228:113 clock_getres:229:114 nanosleep:35:101 "
    "clock_nanosleep:230:115 alarm:37:- getitimer:36:102 setitimer:38:103 timer_create:222:107 "
    "timer_settime:223:110 timer_gettime:224:108 timer_getoverrun:225:109 timer_delete:226:111 "
    # who the caller is, which it can only give up
    "getuid:102:174 geteuid:107:175 getgid:104:176 getegid:108:177 getresuid:118:148 getresgid:120:150 "
    "getgroups:115:158 setuid:105:146 setgid:106:144 setreuid:113:145 setregid:114:143 setresuid:117:147 "
    "setresgid:119:149 setfsuid:122:151 setfsgid:123:152 setgroups:116:159 capget:125:90 capset:126:91 "
    "getrlimit:97:163 getrusage:98:165 landlock_create_ruleset:444:444 landlock_add_rule:445:445 "
    "landlock_restrict_self:446:446 "
    # facts
    "uname:63:160 sysinfo:99:179 getrandom:318:278 "
    # sockets that the rules for making them let through
    "bind:49:200 connect:42:203 listen:50:201 accept:43:202 accept4:288:242 getsockname:51:204 getpeername:52:205 "
    "getsockopt:55:209 setsockopt:54:208 shutdown:48:210 sendto:44:206 recvfrom:45:207 recvmsg:47:212 "
    "recvmmsg:299:243 "
    # queues and shared memory of the ipc namespace
    "shmdt:67:197 mq_timedsend:242:182 mq_timedreceive:243:183 mq_notify:244:184 mq_getsetattr:245:185 "
)


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


OWN: Final[tuple[Call, ...]] = tuple(
    (name, _number(x86_64), _number(aarch64)) for name, x86_64, aarch64 in (row.split(":") for row in _TABLE.split())
)
