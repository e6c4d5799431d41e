"""Make the passwords of a deployment: ``python3 deploy/make_secrets.py``. Standard library only.

Writes ``deploy/secrets/users.acl`` for the server, which holds hashes of the passwords and what each user may do, and
``deploy/.env`` for Docker Compose, which holds the passwords themselves. What exists already is kept.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import string
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
#: users of the server, with the variable of their password; what they may do stands in users.acl.template
USERS: Final = {"notebook": "NOTEBOOK_PASSWORD", "worker": "WORKER_PASSWORD", "monitor": "MONITOR_PASSWORD"}
OTHERS: Final = ("JUPYTER_TOKEN", "FLOWER_PASSWORD", "GRAFANA_PASSWORD")


def main(folder: Path = HERE) -> int:
    """Write both files.

    Args:
        folder: where they are written, beside the template.

    Returns:
        exit status: 1 when a file exists already.
    """
    env, acl = folder / ".env", folder / "secrets" / "users.acl"
    for file in (env, acl):
        if file.exists():
            print(f"{file} exists: delete it to make new passwords", file=sys.stderr)
            return 1
    words = {name: secrets.token_urlsafe(24) for name in (*USERS.values(), *OTHERS)}
    hashes = {name: "#" + hashlib.sha256(word.encode()).hexdigest() for name, word in words.items()}
    template = string.Template((HERE / "users.acl.template").read_text())
    acl.parent.mkdir(mode=0o700, exist_ok=True)
    _write(acl, template.substitute(hashes), 0o644)  # hashes only; the server's user reads it
    _write(env, "".join(f"{name}={word}\n" for name, word in words.items()), 0o600)
    print(f"passwords are in {env}, their hashes for the server in {acl}")
    return 0


def _write(file: Path, text: str, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


if __name__ == "__main__":
    sys.exit(main())
