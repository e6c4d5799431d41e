"""Which pages a life touches, and a fork that has them from the start."""

from __future__ import annotations

from support import in_fresh_interpreter


def test_a_life_is_learned_and_then_lived_with_fewer_faults() -> None:
    """What a profile wrote to is told, also under another descriptor; a fork that inherits it has next to no faults."""
    code = """
import resource
cells = [bytearray(4096 * 4) for _ in range(300)]
def live(out):
    for cell in cells:
        cell[4096] = 1
    return os.dup(out)
def faults(live):
    near, far = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        live(0)
        os.write(far, str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return int(os.read(near, 99))
without = faults(live)
copied = prefault.learn(live)
learned = prefault.Pages(copied)
def take(out):
    learned.copy()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    live(out)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
near, far = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(far, str(take(0)).encode())
    os._exit(0)
os.waitpid(pid, 0)
asked = int(os.read(near, 99))
learned.pin()
print(json.dumps([without, len(copied), asked, faults(live), len(learned._copies)]))
"""
    without, learned, asked, inherited, left = in_fresh_interpreter(code)
    assert without >= 300
    assert learned >= 300
    assert asked < 30
    assert inherited < 60 or left  # where pinning is not allowed they are still to be asked for


def test_where_nothing_may_be_pinned_pages_are_asked_for() -> None:
    """A kernel that refuses the ring leaves everything to be copied by each fork itself."""
    code = """
syscalls.IO_URING_SETUP = 9999
learned = prefault.Pages([page for page in memfd_heap.objects()])
learned.pin()
print(json.dumps([sum(map(len, learned._copies)), len(learned._addresses)]))
"""
    left, all_of_them = in_fresh_interpreter(code)
    assert left == all_of_them > 0
