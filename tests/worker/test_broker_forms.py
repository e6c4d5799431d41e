"""A real server by every form of URL that is accepted: a client and a worker each, and no password is shown."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from support import descendants, missing, process_alive, wait_until

from codeexec_magic import Client
from codeexec_magic.broker_url import BrokerURL
from codeexec_magic.errors import ClusterError
from codeexec_magic.store.connection import connect
from codeexec_magic.supervisor import die_with_parent

pytestmark = pytest.mark.slow

PASSWORD = "Qp#a/s?s@w:o;r d%Z"
MARKS = ("Qp#a", "Qp%23a", "d%Z", "d%25Z")


class Server:
    """A server with a password and an unprivileged user, on TCP, on TLS with a certificate of its own, on a socket.

    Args:
        directory: for its files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "s#s.sock"
        self.port, self.tls_port = _free_port(), _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None or shutil.which("openssl") is None:
            missing("a server program with TLS, and openssl")
            return
        self._certificates()
        users = f"user default on #{_digest()} ~* &* +@all\nuser al@ice on #{_digest()} ~* &* +@all\n"
        (self.directory / "users.acl").write_text(users)
        place = self.directory
        command = [program, "--port", str(self.port), "--bind", "127.0.0.1", "::1", "--unixsocket", str(self.socket)]
        command += ["--tls-port", str(self.tls_port), "--tls-cert-file", f"{place}/cert.pem"]
        command += ["--tls-key-file", f"{place}/key.pem", "--tls-ca-cert-file", f"{place}/cert.pem"]
        command += [
            "--tls-auth-clients",
            "optional",
            "--aclfile",
            f"{place}/users.acl",
            "--save",
            "",
            "--dir",
            str(place),
        ]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent()
            )
        wait_until(self._answers, 30, "the server's PONG")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "server.log").read_text()
        try:
            return bool(connect(f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}").ping())
        except Exception:
            return False

    def _certificates(self) -> None:
        key, cert = self.directory / "key.pem", self.directory / "cert.pem"
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def url(self, form: str) -> str:
        """A form with the server's places filled in."""
        return form.format(
            pw=quote(PASSWORD, safe=""),
            port=self.port,
            tls=self.tls_port,
            sock=quote(str(self.socket)),
            dir=self.directory,
        )


def _digest() -> str:
    import hashlib

    return hashlib.sha256(PASSWORD.encode()).hexdigest()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Shared by the tests below."""
    directory = Path(tempfile.mkdtemp(prefix="cx-"))
    made = Server(directory)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)


#: each with a client and a worker; together they hold every option
FORMS = (
    "redis://:{pw}@127.0.0.1:{port}/0/?health_check_interval=10&socket_timeout=5",
    "redis://[::1]:{port}?username=al%40ice&password={pw}&db=2&protocol=2&retry_on_timeout=true&client_name=mine"
    "&socket_connect_timeout=3&socket_keepalive=true&max_connections=20",
    "rediss://:{pw}@localhost:{tls}/0?ssl_cert_reqs=CERT_NONE",
    "rediss://al%40ice:{pw}@localhost:{tls}/3?ssl_ca_certs={dir}/cert.pem&ssl_certfile={dir}/cert.pem"
    "&ssl_keyfile={dir}/key.pem&ssl_min_version=TLSv1.2&ssl_check_hostname=true",
    "redis+socket://:{pw}@{sock}?virtual_host=4&health_check_interval=10",
    "unix://al%40ice@{sock}?db=5&password={pw}&socket_timeout=4",
)

MORE_FORMS = (
    "redis://al%40ice:{pw}@localhost:{port}",
    "redis://localhost:{port}/0?password={pw}&health_check_interval=0",
    "rediss://:{pw}@localhost:{tls}?ssl_cert_reqs=none&ssl_check_hostname=false",
    "rediss://:{pw}@localhost:{tls}?ssl_cert_reqs=optional&ssl_ca_certs={dir}/cert.pem&ssl_min_version=772",
    "rediss://:{pw}@127.0.0.1:{tls}?ssl_check_hostname=no&ssl_ca_certs={dir}/cert.pem&ssl_ciphers=HIGH",
    "rediss://:{pw}@localhost:{tls}?ssl_ca_certs={dir}/cert.pem&ssl_include_verify_flags=VERIFY_X509_PARTIAL_CHAIN",
    "unix://:{pw}@{sock}",
)


@pytest.mark.parametrize("form", [*FORMS, *MORE_FORMS])
def test_client_connects(server: Server, form: str) -> None:
    """Each accepted form reaches the server and the database that it names."""
    url = BrokerURL.parse(server.url(form))
    redis = connect(url.url)
    assert redis.ping()
    assert redis.client_info()["db"] == url.database


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("redis://:wrong@127.0.0.1:{port}", "invalid username-password pair"),
        ("redis://127.0.0.1:{port}", "it asks for a password"),
        ("rediss://:{pw}@localhost:{tls}", "certificate verify failed"),
        ("rediss://:{pw}@127.0.0.1:{tls}?ssl_ca_certs={dir}/cert.pem", "certificate"),
        ("redis://:{pw}@127.0.0.1:{tls}", "cannot reach|Connection closed"),
        ("redis://:{pw}@127.0.0.1:{port}/999", "DB index is out of range"),
    ],
)
def test_client_is_refused(server: Server, form: str, why: str) -> None:
    """A server that refuses is one line of ours, without the password."""
    with Client(server.url(form)) as client, pytest.raises(ClusterError, match=why) as caught:
        client.queues()
    assert not any(mark in str(caught.value) for mark in MARKS)
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("form", FORMS)
def test_worker_runs_a_cell(server: Server, form: str, tmp_path: Path) -> None:
    """A worker by each form runs a cell, and no log, process list or answer of Celery's tools holds a password."""
    url = server.url(form)
    env = {**os.environ, "CELERY_BROKER_URL": url, "CODEEXEC_PRELOAD": "json", "CODEEXEC_SLOTS": "1"}
    env.pop("CELERY_RESULT_BACKEND", None)
    cli = [sys.executable, "-c", "from codeexec_magic.cli import main; main()"]
    log = tmp_path / "worker.log"
    with log.open("wb") as out, Client(url) as client:
        worker = subprocess.Popen(
            [*cli, "worker", "--loglevel", "DEBUG"],
            env=env,
            cwd=tmp_path,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            wait_until(lambda: any(one.alive for one in client.workers()), 60, "the worker")
            assert client.submit("print(6 * 7)", cache=False).result(60).stdout == "42\n"
            shown = "\n".join(_command_line(pid) for pid in {worker.pid, *descendants(worker.pid)})
            celery = [sys.executable, "-m", "celery", "-A", "worker.app"]
            for command in (
                [*celery, "inspect", "conf", "--timeout", "10"],
                [*celery, "inspect", "stats", "--timeout", "10"],
                [*celery, "report"],
                [*cli, "queue"],
            ):
                done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=90)
                assert done.returncode == 0, done.stdout + done.stderr
                shown += done.stdout + done.stderr
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)
    shown += log.read_text()
    assert "worker ready" in shown or "ready." in shown
    assert [line for line in shown.splitlines() if any(mark in line for mark in MARKS)] == []


def test_worker_without_a_broker(server: Server, tmp_path: Path) -> None:
    """A worker that cannot use its broker says why in lines without a password and without an error of ours."""
    url = server.url("rediss://:{pw}@localhost:{tls}/0")
    env = {**os.environ, "CELERY_BROKER_URL": url, "CODEEXEC_PRELOAD": "json", "CODEEXEC_LEASE_S": "1"}
    log = tmp_path / "worker.log"
    command = [sys.executable, "-P", "-m", "worker", "-A", "worker.app", "worker", "-c", "1"]
    with log.open("wb") as out:
        worker = subprocess.Popen(command, env=env, cwd="/", stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until(lambda: "certificate verify failed" in log.read_text() or not process_alive(worker.pid), 60)
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(60)
    text = log.read_text()
    assert "certificate verify failed" in text
    assert "AttributeError" not in text
    assert not any(mark in text for mark in MARKS)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # gone meanwhile
