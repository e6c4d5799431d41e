"""What cells can import is known before they are queued."""

from __future__ import annotations

import platform

import pytest
from live_cluster import LiveCluster
from support import wait_until

from codeexec_magic.errors import BadRequest, MissingModule
from codeexec_magic.imports import needed_modules
from codeexec_magic.store.packages import Packages, announce, packages
from worker.packages import describe


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import a.b, c as d\nfrom e.f import g\nfrom . import h", "a c e"),
        ("try:\n    import a\nexcept ImportError:\n    pass", ""),
        ("def f():\n    import a\nif x:\n    import b", ""),
        ("!pip list\nimport a", ""),
        ("import sys; sys.path.insert(0, 'x')\nimport a", ""),
        ("open('a.py', 'w').write('')\nimport a", ""),
        ("import", ""),
    ],
)
def test_modules_that_a_cell_needs(code: str, modules: str) -> None:
    """Those it imports whatever happens; code that may bring its own modules is left alone."""
    assert needed_modules(code) == modules.split()


def test_an_interpreter_tells_what_it_has() -> None:
    """Version, packages, modules of packages, single modules; one that does not exist tells nothing."""
    about = describe(None)
    assert about is not None
    assert about["python"] == platform.python_version()
    assert about["packages"]["numpy"]
    assert {"numpy", "PIL", "sklearn", "json"} <= set(about["modules"])
    assert describe("/nonexistent/python") is None


def test_a_cell_that_cannot_but_fail_is_refused(cluster: LiveCluster) -> None:
    """The line names module, queue, and a queue that has it; nothing is queued. What may work is queued."""
    cluster.start_worker()
    client = cluster.client
    known = wait_until(lambda: client.packages(), 60, "the announcement of the packages")
    assert isinstance(known, Packages)
    assert known.packages["numpy"]
    before = client.jobs()
    with pytest.raises(MissingModule, match="no module nowhere_at_all is installed for the cells of queue code_exec"):
        client.submit("import numpy, nowhere_at_all.part")
    store = client.store
    announce(store, "other", {"python": "3.13.1", "packages": {}, "modules": ["nowhere_at_all"]})
    store.redis.hset(f"{store.prefix}environments", "lab", "other")
    store.redis.hset(f"{store.prefix}queues", "lab", "{}")
    try:
        with pytest.raises(BadRequest, match="queue lab has it: --queue lab"):
            client.submit("import nowhere_at_all")
    finally:
        store.redis.hdel(f"{store.prefix}environments", "lab")
        store.redis.hdel(f"{store.prefix}queues", "lab")
    assert [job.id for job in client.jobs()] == [job.id for job in before]
    result = client.submit("try:\n    import nowhere_at_all\nexcept ImportError:\n    print('none')").result(60)
    assert result.stdout == "none\n"


@pytest.mark.parametrize("text", ["", "null", "[]", '{"python": 3}', '{"packages": 5}', "{" * 5000])
def test_damaged_announcements_say_nothing(cluster: LiveCluster, text: str) -> None:
    """Then nothing is refused for want of a module."""
    store = cluster.client.store
    store.redis.hset(f"{store.prefix}environments", "broken", "broken")
    store.redis.set(f"{store.prefix}packages:broken", text, px=1000)
    try:
        assert packages(store, "broken") is None
    finally:
        store.redis.hdel(f"{store.prefix}environments", "broken")
