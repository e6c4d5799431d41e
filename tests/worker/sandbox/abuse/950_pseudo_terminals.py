# expect: stdout has "refused 3": a cell gets no pseudo-terminal, whichever way it asks, and is told so by an OSError
# group: privilege
# what: Pseudo-terminals are kernel objects that no control group counts, and lead to ioctl commands of terminals.
import os, pty
refused = 0
for ask in (os.openpty, lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY), pty.fork):
    try: ask()
    except OSError: refused += 1
print("refused", refused)
