"""Strangers' entries in a worker's list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness import Cluster
from support import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

EMBEDDED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def message(arguments: Any, **changed: Any) -> str:
    """A message like ours, with other arguments and headers."""
    headers = {"lang": "py", "task": "codeexec.execute", "id": "MARK", "retries": 0, "eta": None, "expires": None}
    return json.dumps(
        {
            "body": json.dumps([arguments, {}, EMBEDDED]),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {**headers, **changed.pop("headers", {})},
            "properties": {"body_encoding": None, "delivery_tag": "MARK", "delivery_info": {}},
            **changed,
        }
    )


#: each of the first nine ended the main process of a worker that read it unguarded
REJECTED: dict[str, str | bytes] = {
    "not JSON": "MARK",
    "not UTF-8": b"\xff\xfeMARK",
    "empty": "",
    "a number": "3",
    "a list": '["MARK"]',
    "null": "null",
    "too deep": "[" * 60_000,
    "a type kombu makes up": '{"__type__": "decimal", "__value__": "MARK"}',
    "a task named by a list": message(["MARK", 1], headers={"task": ["MARK"]}),
    "an empty object": "{}",
    "no headers": json.dumps({"body": "[]"}),
    "an unknown task": message(["MARK", 1], headers={"task": "MARK"}),
    "wrong types": message([{"MARK": 1}, "MARK"]),
    "too many arguments": message(["MARK", 1, 2]),
    "no arguments": message([]),
    "arguments that are none": message(5),
    "a body that is not JSON": message([], body="MARK"),
    "a body that is a number": message([], body=5),
    "50 MB": "MARK" * 12_500_000,
    "50 MB of JSON": message(["MARK" * 12_500_000, 1]),
}

#: these ask for our task and are passed on without what is wrong with them; there is no such job
SKIPPED: dict[str, str] = {
    "an ETA that is none": message(["MARK", 1], headers={"eta": "soon"}),
    "an ETA in an object": message(["MARK", 1], headers={"eta": {}}),
    "an ETA in a year": message(["MARK", 1], headers={"eta": "2999-01-01T00:00:00"}),
    "an expiry that is none": message(["MARK", 1], headers={"expires": [1]}),
    "a time limit that is none": message(["MARK", 1], headers={"timelimit": 5}),
    "no properties": message(["MARK", 1], properties=None),
    "an unknown encoding": message(["MARK", 1], **{"content-encoding": "klingon"}),
    "a pickle": message(["MARK", 1], **{"content-type": "application/x-python-serialize"}),
    "compressed, it says": message(["MARK", 1], headers={"compression": "bzip2"}),
    "callbacks": message([], body=json.dumps([["MARK", 1], {}, {**EMBEDDED, "callbacks": [3]}])),
}


@pytest.mark.parametrize("slots", [1, 2])
def test_malformed_messages_neither_end_a_worker_nor_take_a_slot(slots: int) -> None:
    """After every entry the same process runs the next cell; the log tells of each rejection, without its content."""
    with Cluster(slots=slots) as cluster:
        pids = wait_until(cluster.worker_pids, 20, "the worker")
        redis = cluster.client.store.redis
        for name, item in {**REJECTED, **SKIPPED}.items():
            redis.lpush("code_execution", item)
            assert cluster.client.submit("'next'", cache=False).result(60).success, name
            assert cluster.worker_pids() == pids, name
        assert redis.hget("codeexec:default:counters", "messages_rejected") == str(len(REJECTED))
        log = (cluster.directory / "worker-0.log").read_text()
        lines = [line for line in log.splitlines() if "rejected a message on queue code_execution" in line]
        assert len(lines) == len(REJECTED)
        assert not [line for line in lines if "MARK" in line]
        told = [line for line in log.splitlines() if '"event": "skipped"' in line]
        assert len(told) == len(SKIPPED)
        assert redis.llen("code_execution") == 0


def test_a_job_of_another_schema_is_refused_and_told() -> None:
    """A record this version cannot read ends as failed, with a line that names the schema; the worker goes on."""
    with Cluster(slots=1) as cluster:
        first = cluster.client.submit("import time; time.sleep(2)", cache=False)
        cluster.wait_for_start(first)
        strange = cluster.client.submit("'strange'", cache=False)
        cluster.client.store.redis.hset(f"codeexec:default:job:{strange.id}", "request", '{"schema": 99}')
        result = strange.result(60)
        assert not result.success
        assert "schema 99" in result.verdict
        assert cluster.client.submit("'next'", cache=False).result(60).success
        assert cluster.starts(strange) == 0
