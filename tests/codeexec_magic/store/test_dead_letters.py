"""Jobs that gave up for good."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from store_jobs import begin, bury, request
from support import PrivateServer

from codeexec_magic.contract import code_hash
from codeexec_magic.settings import Settings
from codeexec_magic.store import JobStore
from codeexec_magic.store.dead_letters import dead_letter, dead_letters


def test_a_dead_letter_is_listed_and_requeued_once(store: JobStore) -> None:
    """The seed's list holds the entry; requeueing twice runs once."""
    one = request("x = 1")
    bury(store, one)
    raw: Any = store.redis.lrange("dead_letter", 0, -1)
    assert json.loads(raw[0])["code"] == "x = 1"
    assert dead_letter(store, one.task_id) == dead_letters(store)[0]
    assert store.requeue(one.task_id, "1") == "queued"
    assert store.requeue(one.task_id, "1") == "alive"
    assert dead_letters(store) == []
    begun = begin(store, one.task_id, 2, "a2")
    assert (begun.failures, begun.crashes, begun.run) == (0, 0, 1)


def test_a_dead_letter_can_be_requeued_with_other_code(store: JobStore) -> None:
    """Edited code runs under the same id."""
    one = request("x = 1")
    bury(store, one)
    store.requeue(one.task_id, "1", replace(one, code="x = 2"))
    assert begin(store, one.task_id, 2, "a2").request.code == "x = 2"
    assert store.snapshot(one.task_id).state().code_hash == code_hash("x = 2")


def test_dead_letters_are_dropped_purged_and_bounded(redis_server: PrivateServer, store: JobStore) -> None:
    """Drop takes one, purge takes all, and the list trims itself and counts what it trimmed."""
    small = JobStore(redis_server.url, Settings(dead_letters=2))
    first, *others = [request(str(number)) for number in range(4)]
    for one in (first, *others):
        bury(small, one)
    assert [letter.task_id for letter in dead_letters(small)] == [others[2].task_id, others[1].task_id]
    assert small.redis.hget("codeexec:default:counters", "dead_letters_trimmed") == "2"
    assert small.drop(others[2].task_id) == 1
    assert small.drop(others[2].task_id) == 0
    assert small.drop() == 1
    assert dead_letters(small) == []
    small.close()
