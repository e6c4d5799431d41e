"""The files for deployments name only what the product has, and agree with each other."""

from __future__ import annotations

import importlib.util
import json
import re
import string
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from codeexec_magic.cli.root import COMMANDS
from codeexec_magic.settings import CEILING, ClusterSettings, Settings, WorkerSettings
from codeexec_magic.settings_reference import rows

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXTS = sorted(file for file in DEPLOY.rglob("*") if file.is_file() and file.suffix not in (".json", ".py"))


def script(name: str) -> Any:
    """One of the scripts in ``deploy/``, as a module."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_seccomp_profile_is_the_one_that_the_tables_make() -> None:
    """A call that the sandbox begins to need is in the profile, for Docker and for Kubernetes' nodes."""
    made = json.dumps(script("seccomp_profile").profile(), indent=1) + "\n"
    assert (DEPLOY / "seccomp.json").read_text() == made
    assert (DEPLOY / "kubernetes/node-profiles/seccomp.json").read_text() == made


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_every_setting_that_is_named_exists(file: Path) -> None:
    """A misspelt variable would silently do nothing."""
    known = {row.name for kind in (Settings, WorkerSettings, ClusterSettings) for row in rows(kind, {})}
    known |= {variable.name for variable in CEILING.values()} | {"CODEEXEC_MAX_"}
    named = set(re.findall(r"\bCODEEXEC_[A-Z_]+", file.read_text()))
    assert named <= known, named - known


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(DEPLOY)))
def test_every_metric_that_is_named_exists(file: Path) -> None:
    """An alert or an autoscaler on a metric that nobody serves never fires."""
    served = (ROOT / "codeexec_magic/prometheus.py").read_text()
    for metric in re.findall(r"\b(?:celery_queue|codeexec)_[a-z_]+", file.read_text()):
        if metric.startswith(("codeexec_magic", "codeexec_heavy")):
            continue
        assert re.sub(r"_(bucket|sum|count)$", "", metric) in served, metric


@pytest.mark.parametrize("name", ["worker", "client"])
def test_images_run_commands_that_exist(name: str) -> None:
    """The commands of the images are commands of ``codeexec``, and no image runs as root."""
    text = (DEPLOY / f"{name}.Dockerfile").read_text()
    command = json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[-1])
    assert command[0] in COMMANDS
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "10001:10001"


def test_compose_isolates_at_level_2_without_privileges() -> None:
    """Workers drop every capability and take the shipped profile."""
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    for name in ("worker", "worker-heavy"):
        service = services[name]
        assert service["cap_drop"] == ["ALL"]
        assert "seccomp=./seccomp.json" in service["security_opt"]
        assert not service.get("privileged")
        assert not service.get("cap_add")


def test_kubernetes_gives_cells_time_to_finish() -> None:
    """Scaling down ends no cell that runs: the pod's grace is above the worker's, which is above the hard limit."""
    for name, hard_s in (("workers", 120), ("workers-heavy", 300)):
        pod = yaml.safe_load((DEPLOY / f"kubernetes/base/{name}.yaml").read_text())["spec"]["template"]["spec"]
        env = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
        assert hard_s < int(env["CODEEXEC_GRACE_S"]) < pod["terminationGracePeriodSeconds"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["securityContext"]["procMount"] == "Unmasked"


def test_secrets_are_made_once_and_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The server gets hashes, only ``.env`` has passwords, and a second call changes nothing."""
    make_secrets = script("make_secrets")
    assert make_secrets.main(tmp_path) == 0
    passwords = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    users = (tmp_path / "secrets/users.acl").read_text()
    shown = capsys.readouterr().out
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert not any(password in users + shown for password in passwords.values())
    assert make_secrets.main(tmp_path) == 1
    assert (tmp_path / "secrets/users.acl").read_text() == users
    assert string.Template((DEPLOY / "users.acl.template").read_text()).get_identifiers() == [
        "NOTEBOOK_PASSWORD",
        "WORKER_PASSWORD",
        "MONITOR_PASSWORD",
    ]
