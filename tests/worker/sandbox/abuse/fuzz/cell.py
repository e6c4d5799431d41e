# The code of a cell that sends garbage to the launcher on every descriptor it finds; SEED and COUNT are set before it.
# Runs inside a sandbox only. Its last act on descriptor 2 tells how much it has sent.
import contextlib
import fcntl
import json
import os
import random
import signal
import socket
import struct
import sys
import threading

source = random.Random(SEED)
sent, lock = 0, threading.Lock()

frame = sys._getframe()
while frame and not hasattr(frame.f_locals.get("request"), "token"):
    frame = frame.f_back
token = frame.f_locals["request"].token if frame else "none"

odd = [
    None,
    True,
    False,
    0,
    -1,
    255,
    256,
    1 << 40,
    10**300,
    0.5,
    -0.0,
    "",
    "x" * 300,
    "\ud800",
    "ok",
    "error",
    "exit",
    [],
    {},
    [[]],
    {"": {}},
    {"kinds": "MemoryError"},
    {"kinds": [None, {}, []], "errno": "28"},
    {"traceback": {"a": 1}, "ename": 5, "evalue": []},
    {
        "ename": "E" * 5000,
        "evalue": "v" * 20000,
        "traceback": ["t" * 10] * 300,
        "kinds": ["SoftTimeLimitExceeded"],
        "errno": True,
    },
]


def report():
    out = ["EndReport", token, source.choice(["ok", "error", "exit"]), source.choice(odd), source.choice(odd), source.choice(odd)]
    for _ in range(source.randint(0, 3)):
        out[source.randrange(1, len(out))] = source.choice(odd)
    out = out[: source.choice([6, 6, 6, 5, 2])] + [0] * source.choice([0, 0, 1])
    return json.dumps(out, ensure_ascii=source.random() < 0.5, separators=(",", ":")).encode("utf-8", "surrogatepass")


def message():
    if source.random() < 0.25:
        return report()
    kind = source.choice(
        [
            "display_data",
            "update_display_data",
            "execute_result",
            "clear_output",
            "end",
            "end",
            "stream",
            "outcome",
            "event",
            "",
            5,
            None,
        ]
    )
    out = {"type": kind}
    for key in ("token", "status", "code", "error", "values", "data", "metadata", "transient", "wait", "op", "kill"):
        if source.random() < 0.4:
            out[key] = source.choice(odd)
    if source.random() < 0.3:
        out["token"] = token
    if source.random() < 0.5:
        out["data"] = {
            source.choice(["text/plain", "text/html", "application/json", "a/b+json", "nothing", ""]): source.choice(
                odd
            )
        }
    if source.random() < 0.2:
        out["transient"] = {"display_id": source.choice(odd)}
    return json.dumps(out, ensure_ascii=source.random() < 0.5).encode("utf-8", "surrogatepass")


def packet():
    """One hostile input: well-formed, forged, nested, cut, of wrong length, or changed here and there."""
    shape = source.randrange(12)
    if shape < 4:
        data = b"j" + message()
    elif shape == 4:
        opened = source.choice([b"[", b'{"a":', b'["', b"\\", b'"\\'])
        data = (
            b"j"
            + opened * source.randrange(1, source.choice([70, 4000]) // len(opened))
            + source.choice([b"", b"]" * source.randrange(1, 70)])
        )
    elif shape == 5:
        body = message()
        cut = source.randrange(len(body) + 1)
        data = b"p" + struct.pack("Q", source.randrange(80)) + source.choice([b"\0", b"\1", b"\2", b""]) + body[:cut]
    elif shape == 6:
        data = (
            struct.pack(source.choice(["<I", ">I", "<Q"]), source.choice([0, 1, 7, 1 << 20, (1 << 32) - 1])) + message()
        )
    elif shape == 7:
        data = source.choice([b"o", b"e"]) + source.randbytes(source.randrange(300))
    elif shape == 8:
        data = source.randbytes(source.randrange(1, 60))
    elif shape == 9:
        data = b"j" + source.choice(
            [
                b"NaN",
                b"1e999",
                b"9" * 3000,
                b"-",
                b"null",
                b'"\\ud800\\udc00\\udfff"',
                b"\xed\xa0\x80",
                b"\xff\xfe",
                b'{"type":"end"' + b"}" * 9,
            ]
        )
    elif shape == 10:
        data = source.choice(
            [b"", b"j", b"p", b"o", b"\0", b"p" + bytes(8), b"p" + bytes(9), b"j" + b" " * source.choice([9, 4095])]
        )
    else:
        data = b"j" + message() * 2
    if source.random() < 0.4:
        out = bytearray(data)
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(out) + 1)
            out[at : at + source.randrange(3)] = source.randbytes(source.randrange(4))
        data = bytes(out)
    return data


def targets():
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if writable(fd)]


def writable(fd):
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    except OSError:
        return False


def write(fd, data):
    global sent
    way = source.randrange(8)
    try:
        if way == 0:
            os.writev(fd, [data[:7], data[7:], b""])
        elif way == 1:
            with contextlib.closing(socket.socket(fileno=os.dup(fd))) as sock:
                socket.send_fds(sock, [data], [0, fd])
        elif way == 2:
            r, w = os.pipe()
            os.write(w, data[:4096] or b"x")
            os.splice(r, fd, 4096)
            os.close(r), os.close(w)
        elif way == 3:
            again = os.open("/proc/self/fd/%d" % fd, os.O_WRONLY | os.O_NONBLOCK)
            os.write(again, data)
            os.close(again)
        else:
            os.write(fd, data)
    except (OSError, ValueError):
        pass
    with lock:
        sent += 1


def disturb():
    """Change what the launcher and the cell share."""
    act = source.randrange(7)
    try:
        if act == 0:
            fcntl.fcntl(3, 1031, source.choice([4096, 8192, 1 << 16, 1 << 20]))
        elif act == 1:
            fcntl.fcntl(3, fcntl.F_SETFL, source.choice([0, os.O_DIRECT, os.O_NONBLOCK, os.O_DIRECT | os.O_NONBLOCK]))
        elif act == 2:
            os.write(3, b"p" + struct.pack("Q", 7) + b"\0" + b"[" * 4000)
        elif act == 3:
            fd = os.open("/proc/self/fd/3", os.O_RDONLY | os.O_NONBLOCK)
            os.read(fd, 4096)
            os.close(fd)
        elif act == 4:
            os.write(source.choice([1, 2]), source.randbytes(4000))
        elif act == 5:
            fcntl.ioctl(3, source.choice([0x541B, 0x5421, 0x5451]), struct.pack("i", 1))
        elif os.fork() == 0:
            for _ in range(20):
                write(3, packet())
            os._exit(0)
    except OSError:
        pass


def work(count):
    open_ones = targets()
    for i in range(count):
        write(source.choice([3, 3, 3, *open_ones]), packet())
        if i % 100 == 99:
            disturb()


if SEED % 3 == 0:
    threads = [threading.Thread(target=work, args=(COUNT // 4,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
else:
    work(COUNT)
with contextlib.suppress(OSError):
    fcntl.fcntl(3, fcntl.F_SETFL, os.O_DIRECT)
os.write(2, b"\nSENT %d\n" % sent)
way = SEED % 7
if way == 1:
    1 / 0
elif way == 2:
    os._exit(0)
elif way == 3:
    os._exit(7)
elif way == 4:
    os.kill(os.getpid(), signal.SIGKILL)
elif way == 5:
    os.close(3)
elif way == 6:
    os.write(3, b"j" + json.dumps(["EndReport", token, "ok", 0, None, {}]).encode())
    os.kill(os.getpid(), signal.SIGSEGV)
