"""The figures for Prometheus, the alert rules and the dashboard made of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support import PrivateServer, missing, wait_until

from codeexec_magic import Client
from codeexec_magic.cli.root import call
from codeexec_magic.prometheus import exposition
from codeexec_magic.store.monitor import QueueReading, Reading
from codeexec_magic.store.queries import WorkerInfo
from codeexec_magic.store.scripts import BUCKETS, source

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "alert-rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"


@pytest.fixture
def reading() -> Reading:
    """A cluster where everything has happened."""
    about = {
        "isolation": "2", "required_isolation": "1", "memory_mb": "180.5",
        "sandbox_starts": "7", "sandbox_start_ms": "3.5",
    }  # fmt: skip
    counters = {
        "submitted": 12, "cache_hits": 2, "followed": 1, "dead_letters": 1, "messages_lost": 1,
        "messages_rejected": 2,
        "ended:succeeded:ok": 8, "ended:dead_lettered:timeout": 1, "attempts:code_execution:ok": 8,
        "attempts:code_execution:timeout": 4, "retries:timeout": 3, "requeued:worker_lost": 1,
        "hist:wait:code_execution:10": 5, "hist:wait:code_execution:inf": 1, "hist_sum:wait:code_execution": 400_050,
        "hist:run:code_execution:1000": 6, "hist_sum:run:code_execution": 4_000,
    }  # fmt: skip
    queues = (QueueReading("code_execution", 3, 1.5, 1), QueueReading('odd "queue"\\\n', 0, None, 0))
    workers = (WorkerInfo("w1@host", 0.5, ("code_execution",), 2, 1, about), WorkerInfo("w2", 99.0, (), 2, 0, {}))
    return Reading(1, queues, 1, 0, 1, 12, workers, counters, up=1)


def promtool() -> str:
    """Prometheus' own checker."""
    found = shutil.which("promtool")
    if found is None:
        missing("promtool (Debian's package prometheus)")
    return str(found)


def test_figures_are_told(reading: Reading) -> None:
    """Every figure has its name, its labels and its value."""
    found = samples(exposition(reading))
    for name, labels, value in (
        ("celery_queue_depth", {"queue": "code_execution"}, 3),
        ("celery_queue_oldest_wait_seconds", {"queue": "code_execution"}, 1.5),
        ("codeexec_wait_seconds_bucket", {"queue": "code_execution", "le": "0.01"}, 5),
        ("codeexec_wait_seconds_bucket", {"queue": "code_execution", "le": "300"}, 5),
        ("codeexec_wait_seconds_bucket", {"queue": "code_execution", "le": "+Inf"}, 6),
        ("codeexec_wait_seconds_sum", {"queue": "code_execution"}, 400.05),
        ("codeexec_execution_seconds_count", {"queue": "code_execution"}, 6),
        ("codeexec_jobs_total", {"status": "dead_lettered", "reason": "timeout"}, 1),
        ("codeexec_executions_total", {"queue": "code_execution", "reason": "timeout"}, 4),
        ("codeexec_retries_total", {"reason": "timeout"}, 3),
        ("codeexec_requeued_total", {"reason": "worker_lost"}, 1),
        ("codeexec_dead_letters", {}, 1),
        ("codeexec_dead_lettered_total", {}, 1),
        ("codeexec_submitted_total", {}, 12),
        ("codeexec_cache_hits_total", {}, 2),
        ("codeexec_messages_rejected_total", {}, 2),
        ("codeexec_running", {}, 1),
        ("codeexec_slots", {"worker": "w1@host"}, 2),
        ("codeexec_workers_up", {}, 1),
        ("codeexec_worker_up", {"worker": "w2"}, 0),
        ("codeexec_worker_memory_bytes", {"worker": "w1@host"}, 180.5 * 2**20),
        ("codeexec_sandbox_start_seconds_sum", {"worker": "w1@host"}, 0.0035),
        ("codeexec_sandbox_start_seconds_count", {"worker": "w1@host"}, 7),
        ("codeexec_isolation_level", {"worker": "w1@host"}, 2),
        ("celery_queue_depth", {"queue": 'odd "queue"\\ '}, 0),
    ):
        assert found[name, frozenset(labels.items())] == value, name
    assert samples(exposition(None)) == {("codeexec_broker_up", frozenset()): 0}


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample in a text, as the library's own parser reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_hostile_name_is_one_label_value() -> None:
    """What a queue or worker is called can neither add a line nor a label, nor is it shown at any length."""
    evil = 'x"} 1\ncodeexec_broker_up 0\x1b[2J\u202e\ud800' + "y" * 500
    found = samples(exposition(Reading(1, (QueueReading(evil, 3, None, 0),))))
    assert found["codeexec_broker_up", frozenset()] == 1
    (shown,) = (dict(labels)["queue"] for name, labels in found if name == "celery_queue_depth")
    assert shown == ('x"} 1 codeexec_broker_up 0 [2J  ' + "y" * 500)[:200]


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without prometheus-client the command says in one line what to install."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "codeexec_magic.prometheus", raising=False)
    assert call(["metrics", "--once"]) == 2
    told = capsys.readouterr().err
    assert told.splitlines() == [
        "codeexec: error: prometheus-client is not installed: pip install 'codeexec-magic[metrics]'"
    ]


def test_buckets_are_those_of_the_scripts() -> None:
    """Readers and the scripts that count agree on the buckets."""
    found = re.search(r"local LISTENING, BUCKETS = \d+, \{([^}]*)\}", source("finish"))
    assert found
    assert tuple(int(number) for number in found[1].split(",")) == BUCKETS


def test_prometheus_can_read_it(reading: Reading) -> None:
    """promtool finds no fault in the text."""
    told = subprocess.run(
        [promtool(), "check", "metrics"], input=exposition(reading), capture_output=True, text=True, timeout=30
    )
    assert told.returncode == 0, told.stderr + told.stdout


def test_rules_are_rules_and_fire() -> None:
    """promtool accepts the rules, and they fire when they should and only then."""
    tool = promtool()
    checked = subprocess.run([tool, "check", "rules", str(RULES)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr + checked.stdout
    cases = ROOT / "tests" / "deploy" / "alert-tests.yml"
    tested = subprocess.run([tool, "test", "rules", str(cases)], capture_output=True, text=True, timeout=60)
    assert tested.returncode == 0, tested.stderr + tested.stdout


def test_dashboard_asks_for_what_there_is(reading: Reading, tmp_path: Path) -> None:
    """Its queries parse, name only figures that exist, and its panels do not overlap."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert dashboard["uid"]
    variables = {f"${{{one['name']}}}": one for one in dashboard["templating"]["list"]}
    for one in (*panels, *(target for panel in panels for target in panel["targets"])):
        assert one["datasource"]["type"] == variables[one["datasource"]["uid"]]["query"] == "prometheus"
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in ("stat", "timeseries")
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    told = exposition(reading)
    names = set(re.findall(r"^(\w+)", re.sub(r"^#.*$", "", told, flags=re.MULTILINE), re.MULTILINE))
    used = {name for query in queries for name in re.findall(r"\b(?:celery|codeexec)_\w+", query)}
    assert used <= names
    rules = {name for name in re.findall(r"\b(?:celery|codeexec)_\w+", RULES.read_text())}
    assert rules <= names
    seen: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not seen & cells
        assert 0 <= at["x"] < at["x"] + at["w"] <= 24
        seen |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
    as_rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    path = tmp_path / "queries.yml"  # JSON is YAML too
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": as_rules}]}))
    checked = subprocess.run([promtool(), "check", "rules", str(path)], capture_output=True, text=True, timeout=30)
    assert checked.returncode == 0, checked.stderr + checked.stdout


@pytest.fixture
def exporter(redis_server: PrivateServer) -> Iterator[str]:
    """Address of a served exposition."""
    cli = "from codeexec_magic.cli import main; main()"
    command = [sys.executable, "-c", cli, "--broker", redis_server.url, "metrics", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    found = re.search(r"http://\S+", line)
    try:
        assert found, line
        yield found[0]
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def test_it_is_served(exporter: str, redis_server: PrivateServer) -> None:
    """Every request reads the cluster anew."""
    with Client(redis_server.url) as client:
        client.store.redis.flushall()
        for i in range(3):
            client.submit(f"{i}", cache=False)

    def get() -> str:
        with urllib.request.urlopen(exporter, timeout=5) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return str(answer.read().decode())

    assert wait_until(lambda: 'celery_queue_depth{queue="code_execution"} 3.0' in get(), 10)
    assert "codeexec_broker_up 1.0" in get()
