"""Who is connected to a unix socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import redis
from support import PrivateServer, private_server, wait_until

from codeexec_magic.local import socket_clients

CONNECT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
print(flush=True)
sys.stdin.read()
"""


def test_connections_of_others_are_counted(short_tmp: Path) -> None:
    """Our own connections can be told from those of other processes, which are counted until they end."""
    private: PrivateServer = private_server(short_tmp)
    try:
        assert socket_clients.other_clients(private.socket, []) == 0
        with redis.Redis(unix_socket_path=str(private.socket)) as client:
            client.ping()
            assert socket_clients.other_clients(private.socket, []) == 1
            assert socket_clients.other_clients(private.socket, [os.getpid()]) == 0
            command = [sys.executable, "-c", CONNECT, str(private.socket)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
                assert other.stdout is not None
                other.stdout.readline()
                wait_until(
                    lambda: socket_clients.other_clients(private.socket, [os.getpid()]) == 1,
                    30,
                    "the connection to be seen",
                )
                assert socket_clients.other_clients(private.socket, [os.getpid(), other.pid]) == 0
            wait_until(
                lambda: socket_clients.other_clients(private.socket, [os.getpid()]) == 0,
                60,
                "the end of the connection",
            )
    finally:
        private.stop()


def test_processes_that_are_gone_own_nothing(redis_server: PrivateServer) -> None:
    """A pid that has just ended is no error."""
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as client:
        client.ping()
        before = socket_clients.other_clients(redis_server.socket, [])
        assert before is not None
        assert before >= 1
        assert socket_clients.other_clients(redis_server.socket, [2**22 - 1]) == before
