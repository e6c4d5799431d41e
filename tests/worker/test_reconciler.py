"""Repairs, on a real server; a dead worker is one that stopped renewing."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support import PrivateServer, wait_until

from codeexec_magic.broker_url import BrokerURL
from codeexec_magic.contract import ExecutionRequest, ExecutionResult, Reason, Status
from codeexec_magic.settings import Settings
from codeexec_magic.store import Begun, JobStore
from codeexec_magic.store.celery_results import CeleryResults
from codeexec_magic.store.dead_letters import dead_letter
from worker import reconciler
from worker.reconciler import Reconciler

LEASE_S = 0.2


class Bench:
    """A store, a reconciler and what it announced."""

    def __init__(self, url: str, lease_s: float = LEASE_S) -> None:
        self.store = JobStore(url, Settings(lease_s=lease_s))
        self.store.redis.flushall()
        self.results = CeleryResults(BrokerURL.parse(url).with_database(1).url, self.store.settings)
        self.announced: list[tuple[ExecutionResult, list[str], Mapping[str, Any] | None]] = []
        self.told: list[Mapping[str, Any]] = []
        self.reconciler = Reconciler(self.store, "r", self._announce, self.told.append, self.results.missing)

    def _announce(self, result: ExecutionResult, followers: list[str], letter: Mapping[str, Any] | None) -> None:
        self.announced.append((result, followers, letter))
        self.results.record([result])

    def step_until(self, what: str, condition: Any) -> None:
        """Let the reconciler work until something holds."""

        def pass_and_look() -> Any:
            self.store.redis.delete("codeexec:default:reconciler")
            self.reconciler.step()
            return condition()

        wait_until(pass_and_look, 15, what)

    def submit_and_die(self, runs: int = 1) -> str:
        """A job whose worker dies under it so many times."""
        task_id = str(uuid.uuid4())
        self.store.submit(ExecutionRequest(task_id, f"'{task_id}'"))
        for run in range(1, runs + 1):
            assert isinstance(self.store.begin(task_id, run, f"attempt-{run}", "doomed"), Begun)
            self.step_until(
                "the dead attempt to be closed", lambda: self.store.snapshot(task_id).status is not Status.RUNNING
            )
        return task_id


@pytest.fixture
def bench(redis_server: PrivateServer) -> Iterator[Bench]:
    """An empty bench."""
    bench = Bench(redis_server.url)
    yield bench
    bench.store.close()
    bench.results.close()


def test_a_dead_workers_job_runs_again(bench: Bench) -> None:
    """When the lease runs out, the job is queued anew and the death is in its record."""
    task_id = bench.submit_and_die()
    state = bench.store.snapshot(task_id).state()
    assert (state.status, state.crashes) == (Status.QUEUED, 1)
    assert state.attempts[0]["reason"] == "worker_lost"
    assert isinstance(bench.store.begin(task_id, 2, "next", "alive"), Begun)


def test_three_deaths_make_a_poison_pill(bench: Bench) -> None:
    """A cell that kills its workers is taken out of the queue with all its attempts."""
    task_id = bench.submit_and_die(runs=3)
    letter = dead_letter(bench.store, task_id)
    assert letter.reason == str(Reason.WORKER_LOST)
    assert [attempt["worker"] for attempt in letter.attempts] == ["doomed"] * 3
    assert bench.store.snapshot(task_id).status is Status.DEAD_LETTERED
    (result, _, announced), *more = bench.announced
    assert not more
    assert result.task_id == task_id
    assert announced is not None
    assert announced["code"] == f"'{task_id}'"


def test_a_renewed_lease_is_left_alone(bench: Bench) -> None:
    """An attempt that renews is never closed by somebody else."""
    task_id = str(uuid.uuid4())
    bench.store.submit(ExecutionRequest(task_id, "1"))
    assert isinstance(bench.store.begin(task_id, 1, "a", "w"), Begun)
    end = bench.store.now() + 4 * LEASE_S * 1000

    def renew() -> bool:
        assert bench.store.renew([(task_id, "a")]) == ["ok"]
        return bench.store.now() > end

    bench.step_until("some leases to pass", renew)
    assert bench.store.snapshot(task_id).status is Status.RUNNING


def test_a_missing_celery_result_is_written(bench: Bench) -> None:
    """An outcome recorded by a worker that then died reaches Celery all the same."""
    task_id = str(uuid.uuid4())
    bench.store.submit(ExecutionRequest(task_id, "1"))
    bench.store.cancel(task_id)
    assert bench.results.missing([task_id]) == [task_id]
    bench.step_until("the result entry", lambda: not bench.results.missing([task_id]))


def test_only_one_reconciler_works_at_a_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one holds the lock, another's pass does nothing."""
    monkeypatch.setattr(reconciler, "TURN_S", 60.0)
    assert bench.store.take_turn("other", 60.0)
    task_id = str(uuid.uuid4())
    bench.store.submit(ExecutionRequest(task_id, "1"))
    bench.store.cancel(task_id)
    bench.reconciler.step()
    assert bench.announced == []


def test_a_clock_set_back_ends_no_attempt(bench: Bench) -> None:
    """Neither one whose lease is from before nor one that was renewed since, by the time somebody notices."""
    store = bench.store
    ids = [str(uuid.uuid4()) for _ in range(2)]
    for task_id in ids:
        store.submit(ExecutionRequest(task_id, f"'{task_id}'"))
        assert isinstance(store.begin(task_id, 1, "a", "w"), Begun)
    store.redis.zincrby(f"{store.prefix}running", 3_600_000, ids[0])
    store.redis.set(f"{store.prefix}clock", store.now() + 3_600_000)
    swept = store.sweep(["code_execution"], 4.0)
    assert swept.expired == ()
    ends = [store.redis.zscore(f"{store.prefix}running", task_id) for task_id in ids]
    assert all(end is not None and swept.now_ms < end <= swept.now_ms + 1000 * LEASE_S for end in ends)


def test_a_lock_from_before_the_clock_was_set_back_stops_no_repairs(bench: Bench) -> None:
    """Its expiry is an hour away by the clock that is now; nobody may hold it for that long."""
    bench.store.redis.set("codeexec:default:reconciler", "other", px=3_600_000)
    assert bench.store.take_turn("r", 0.9)
    bench.store.redis.set("codeexec:default:reconciler", "other")
    assert bench.store.take_turn("r", 0.9)


def test_a_job_nobody_can_read_ends_instead_of_waiting_for_ever(bench: Bench) -> None:
    """A request of another schema whose worker died gets an outcome that says so."""
    task_id = str(uuid.uuid4())
    bench.store.submit(ExecutionRequest(task_id, "1"))
    for run in range(1, 4):
        assert isinstance(bench.store.begin(task_id, run, f"a{run}", "doomed"), Begun)
        if run == 3:
            bench.store.redis.hset(f"codeexec:default:job:{task_id}", "request", '{"schema": 99}')
        bench.step_until("the attempt's end", lambda: bench.store.snapshot(task_id).status is not Status.RUNNING)
    snapshot = bench.store.snapshot(task_id)
    assert snapshot.status is Status.FAILED
    assert "schema 99" in snapshot.result().verdict


def test_a_dead_letter_whose_worker_died_is_told_by_the_reconciler(bench: Bench) -> None:
    """Recorded but not told of: the entry is told, and whoever claims it is the only one."""
    task_id = bench.submit_and_die(runs=3)  # the bench announces without claiming, as a worker that died
    bench.step_until("the telling", lambda: bench.told)
    assert bench.told[0]["task_id"] == task_id
    assert bench.store.claim_alert(task_id, 1.0)
    assert not bench.store.claim_alert(task_id, 1.0)
    before = len(bench.told)
    bench.step_until("the telling again, since the one who claimed it never told", lambda: len(bench.told) > before)
    bench.store.alerted(task_id)
    assert not bench.store.claim_alert(task_id, 1.0)


def test_a_clock_set_forward_ends_no_attempt(redis_server: PrivateServer) -> None:
    """The server's clock runs on, the steady one stands still: holders get the time to renew, and the dead no more."""
    lease_s, behind = 1.5, 0.0
    bench = Bench(redis_server.url, lease_s)
    store = bench.store
    repairs = Reconciler(
        store, "r", bench._announce, bench.told.append, bench.results.missing, lambda: time.monotonic() - behind
    )

    def step() -> None:
        store.redis.delete("codeexec:default:reconciler")
        repairs.step()

    alive, dead = str(uuid.uuid4()), str(uuid.uuid4())
    for task_id in (alive, dead):
        store.submit(ExecutionRequest(task_id, f"'{task_id}'"))
        assert isinstance(store.begin(task_id, 1, task_id, "w"), Begun)
    step()
    before = time.monotonic()
    jumped = store.now() + lease_s * 1000
    wait_until(lambda: store.now() > jumped, 10, "the jump")
    behind = time.monotonic() - before
    step()
    assert store.snapshot(alive).status is Status.RUNNING
    assert store.snapshot(dead).status is Status.RUNNING

    def buried() -> bool:
        assert store.renew([(alive, alive)]) == ["ok"]
        step()
        assert store.snapshot(alive).status is Status.RUNNING
        return store.snapshot(dead).status is Status.QUEUED

    wait_until(buried, 10, "the end of the dead one")
    store.close()
    bench.results.close()


def test_the_first_pass_after_a_jump_ends_no_attempt(bench: Bench) -> None:
    """A reconciler that has just started cannot know of a jump; that nobody repaired for so long tells it."""
    store, task_id = bench.store, str(uuid.uuid4())
    store.submit(ExecutionRequest(task_id, "1"))
    assert isinstance(store.begin(task_id, 1, "a", "w"), Begun)
    bench.reconciler.step()
    # an hour later by the clock that is now: what the record and the last pass know is from before
    store.redis.zincrby(f"{store.prefix}running", -3_600_000, task_id)
    for told in (str(store.now() - 3_600_000), None):  # as it is, and expired with the jump
        store.redis.delete(f"{store.prefix}reconciler", f"{store.prefix}clock")
        if told:
            store.redis.set(f"{store.prefix}clock", told)
        Reconciler(store, "fresh", bench._announce, bench.told.append, bench.results.missing).step()
        assert store.snapshot(task_id).status is Status.RUNNING
        assert store.renew([(task_id, "a")]) == ["ok"]
        store.redis.zincrby(f"{store.prefix}running", -3_600_000, task_id)
    bench.step_until("the end of the attempt, now really dead", lambda: store.snapshot(task_id).state().crashes == 1)


def test_doubt_prolongs_no_lease_that_a_supervisor_has_ended(bench: Bench) -> None:
    """Its worker is dead by the word of whoever started it: the job runs again at once, whatever clocks do."""
    store, task_id = bench.store, str(uuid.uuid4())
    store.submit(ExecutionRequest(task_id, "1"))
    assert isinstance(store.begin(task_id, 1, "line.a", "w"), Begun)
    assert store.orphan("line.") == 1
    assert store.sweep(["code_execution"], 4.0, doubt=True).expired == (task_id,)
