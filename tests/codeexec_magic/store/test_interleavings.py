"""Everything that can happen to jobs, in any order: each one has one outcome, and nothing of it is left lying about."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support import PrivateServer, wait_until

from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status, code_hash
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.attempt_end import AttemptEnd
from codeexec_magic.store.dead_letters import DeadLetter

pytestmark = pytest.mark.slow

QUEUE = "code_execution"
#: how an attempt may end: action, status, reason, charge
ENDS = (
    ("end", Status.SUCCEEDED, Reason.OK, "none"),
    ("end", Status.FAILED, Reason.ERROR, "none"),
    ("end", Status.DEAD_LETTERED, Reason.MEMORY, "failures"),
    ("end", Status.CANCELLED, Reason.CANCELLED, "none"),
    ("retry", Status.FAILED, Reason.TIMEOUT, "failures"),
    ("again", Status.FAILED, Reason.WORKER_LOST, "none"),
)


@dataclass(frozen=True)
class Close:
    """One word of a holder about its attempt, which it may have to repeat."""

    task_id: str
    attempt: str
    action: str
    reason: Reason
    options: dict[str, Any]


class Jobs(RuleBasedStateMachine):
    """Clients, workers, a broker that loses messages and delivers some twice, a reconciler."""

    store: JobStore

    def __init__(self) -> None:
        super().__init__()
        self.store.redis.flushdb()
        self.requests: dict[str, ExecutionRequest] = {}
        self.messages: list[tuple[str, int]] = []  # those that were taken, for a second delivery
        self.open: dict[str, str] = {}  # attempt -> job, as its holder sees it
        self.closes: list[Close] = []
        self.lost: set[tuple[str, int]] = set()
        self.requeued = self.made = 0

    def name(self, what: str) -> str:
        """A new name; always the same ones, so that a failure can be made smaller."""
        self.made += 1
        return f"{what}{self.made:04}."

    @rule(code=st.sampled_from("ab"), mode=st.sampled_from(["use", "use", "refresh", "off"]))
    def submit(self, code: str, mode: str) -> None:
        """A client submits a cell that others may have submitted, too."""
        request = ExecutionRequest(self.name("job"), code, cache=mode)
        assert self.store.submit(request).outcome in ("queued", "follow", "hit")
        assert self.store.submit(request).outcome == "known"
        self.requests[request.task_id] = request

    def take(self) -> tuple[str, int] | None:
        """The message next in line."""
        message = self.store.redis.rpop(QUEUE)
        return tuple(json.loads(json.loads(str(message))["body"])[0]) if message else None

    def begin(self, message: tuple[str, int]) -> None:
        """A worker reads a message."""
        attempt = self.name("attempt")
        before = self.store.snapshot(message[0]).record
        begun = self.store.begin(*message, attempt, "w")
        if isinstance(begun, Begun):
            assert before["status"] == "queued", "only a waiting job begins"
            assert isinstance(self.store.begin(*message, attempt, "w"), Begun), "a lost reply"
            self.open[attempt] = message[0]

    @rule()
    def deliver(self) -> None:
        """As it should be."""
        if message := self.take():
            self.messages.append(message)
            self.begin(message)

    @rule()
    def lose(self) -> None:
        """BRPOP hands a message to a process that dies."""
        if message := self.take():
            self.lost.add(message)

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def deliver_twice(self, data: st.DataObject) -> None:
        """A message that was read already comes again."""
        self.begin(data.draw(st.sampled_from(self.messages)))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), end=st.sampled_from(ENDS))
    def finish(self, data: st.DataObject, end: tuple[str, Status, Reason, str]) -> None:
        """A holder says how its attempt ended, whether it still is the holder or not."""
        attempt = data.draw(st.sampled_from(sorted(self.open)))
        action, status, reason, charge = end
        task_id = self.open.pop(attempt)
        request = self.requests[task_id]
        told = ExecutionResult(task_id, code_hash(request.code), status is Status.SUCCEEDED, status, reason)
        letter = DeadLetter.of(request, told, "").as_dict() if status is Status.DEAD_LETTERED else None
        options = {"status": status, "result": told, "charge": charge, "dead_letter": letter, "environment": "unknown"}
        close = Close(task_id, attempt, action, reason, options)
        mine = self.store.snapshot(task_id).record["attempt"] == attempt
        verdict = self.say(close)
        assert (verdict != "fenced") == mine
        self.closes.append(close)

    def say(self, close: Close) -> str:
        """Close an attempt."""
        return self.store.finish(close.task_id, close.attempt, AttemptEnd(close.action, close.reason, **close.options))[
            0
        ]

    @precondition(lambda self: self.closes)
    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        """A holder whose reply was lost repeats itself: nothing changes."""
        close = data.draw(st.sampled_from(self.closes))
        before = self.store.snapshot(close.task_id).record
        self.say(close)
        assert self.store.snapshot(close.task_id).record == before

    @precondition(lambda self: self.open)
    @rule(data=st.data(), returns=st.booleans())
    def die(self, data: st.DataObject, returns: bool) -> None:
        """A worker dies, or only seems to and comes back later; its lease is over."""
        attempt = data.draw(st.sampled_from(sorted(self.open)))
        self.store.orphan(attempt)
        if not returns:
            del self.open[attempt]

    @rule()
    def repair(self) -> None:
        """The reconciler's pass: nothing is sent again but what was lost, and no living attempt is closed."""
        then = self.store.now()
        wait_until(lambda: self.store.now() > then, 5, "the clock to move")
        records = {message: self.store.snapshot(message[0]).record for message in self.lost}
        missed = [
            message
            for message, record in records.items()
            if record["status"] == "queued" and record.get("generation") == str(message[1])
        ]
        swept = self.store.sweep([QUEUE], 0)
        assert swept.lost <= len(missed)
        for task_id in swept.expired:
            attempt = self.store.snapshot(task_id).record["attempt"]
            verdict, _ = self.store.finish(
                task_id, attempt, AttemptEnd("again", Reason.WORKER_LOST, charge="crashes", only_if_expired=True)
            )
            assert verdict in ("queued", "cancelled")

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """In whatever state it is."""
        task_id = data.draw(st.sampled_from(sorted(self.requests)))
        self.store.cancel(task_id)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), clicks=st.integers(1, 2))
    def requeue(self, data: st.DataObject, clicks: int) -> None:
        """Once or with a double click."""
        task_id = data.draw(st.sampled_from(sorted(self.requests)))
        seen = self.store.snapshot(task_id).record.get("generation", "")
        said = [self.store.requeue(task_id, seen) for _ in range(clicks)]
        assert said.count("queued") <= 1
        self.requeued += said.count("queued")

    @invariant()
    def each_ending_is_recorded_once(self) -> None:
        """The counters of outcomes, the records and the streams say the same."""
        statuses = Counter(self.store.snapshot(task_id).record["status"] for task_id in self.requests)
        ended = sum(count for status, count in statuses.items() if Status(status).terminal)
        counters = self.store.redis.hgetall("codeexec:default:counters")
        assert sum(int(count) for name, count in counters.items() if name.startswith("ended:")) == ended + self.requeued
        for task_id in self.requests:
            assert sum(event["type"] == "end" for event in self.store.events(task_id)) <= 1

    def teardown(self) -> None:
        """Let everything end: all jobs have their outcome, and no index still knows of one."""
        for _ in range(60):
            self.repair()
            while message := self.take():
                self.begin(message)
            for attempt, task_id in self.open.items():
                told = ExecutionResult(task_id, "", True, Status.SUCCEEDED, Reason.OK)
                self.store.finish(task_id, attempt, AttemptEnd("end", Reason.OK, status=Status.SUCCEEDED, result=told))
            self.open.clear()
            if all(self.store.snapshot(task_id).status.terminal for task_id in self.requests):
                break
        self.each_ending_is_recorded_once()
        assert all(Status(self.store.snapshot(task_id).record["status"]).terminal for task_id in self.requests)
        for index in ("running", "retrying", f"queued:{QUEUE}"):
            assert not self.store.redis.exists(f"codeexec:default:{index}"), index
        assert not self.store.redis.keys("codeexec:default:inflight:*")
        for key in self.store.redis.keys("codeexec:default:followers:*"):
            assert self.store.redis.pttl(key) > 0


def test_any_order_of_events_gives_every_job_one_outcome(redis_server: PrivateServer) -> None:
    """Random sequences of submissions, deliveries, deaths, repeats, cancels, requeues and repairs."""

    class Run(Jobs):
        store = JobStore(redis_server.url, Settings(lease_s=600))

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    run_state_machine_as_test(
        Run, settings=settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=checks)
    )
    Run.store.close()
