"""The alert hook, with a real command and a real HTTP server."""

from __future__ import annotations

import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from worker.alerts import alert

LETTER = {"task_id": "abc", "reason": "memory"}


def test_a_command_gets_the_entry_on_its_standard_input(tmp_path: Path) -> None:
    """Its JSON is the whole entry."""
    told = tmp_path / "told"
    script = tmp_path / "hook.py"
    script.write_text(f"import pathlib, sys\npathlib.Path({str(told)!r}).write_text(sys.stdin.read())\n")
    ended = threading.Event()
    alert(f"{sys.executable} {script}", LETTER, ended.set)
    assert ended.wait(30)
    assert json.loads(told.read_text()) == LETTER


def test_a_url_gets_it_as_a_post() -> None:
    """One request with a JSON body."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        ended = threading.Event()
        alert(f"http://127.0.0.1:{server.server_port}/hook", LETTER, ended.set)
        assert ended.wait(30)
        server.shutdown()
        thread.join()
    assert [json.loads(body) for body in bodies] == [LETTER]


@pytest.mark.parametrize(
    "hook", ["/no/such/command", "http://127.0.0.1:1/", f"{sys.executable} -c 'raise SystemExit(3)'"]
)
def test_a_hook_that_fails_is_logged_and_harms_nothing(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    """The worker goes on; its log names the job, and it counts as told."""
    ended = threading.Event()
    with caplog.at_level(logging.ERROR, "codeexec"):
        alert(hook, LETTER, ended.set)
        assert ended.wait(30)
    assert "abc" in caplog.text


def test_nothing_is_called_by_default() -> None:
    """Without a hook no thread is started."""
    before, told = threading.active_count(), []
    alert(None, LETTER, lambda: told.append(True))
    assert threading.active_count() == before
    assert told
