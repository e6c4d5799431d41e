"""The reference of the settings is made from their declaration."""

from __future__ import annotations

import re
from pathlib import Path

from codeexec_magic import settings, settings_reference
from codeexec_magic.settings import WorkerSettings

ROOT = Path(settings.__file__).parents[1]


def test_the_page_is_current() -> None:
    """What the documentation says is what the declarations say."""
    written = (ROOT / "docs" / "reference" / "settings.md").read_text()
    assert written == settings_reference.page(), "run python -m codeexec_magic.settings_reference"


def test_every_variable_is_on_the_page() -> None:
    """No module reads a variable of ours that is not declared; what is internal says so by its use."""
    internal = {"CODEEXEC_LINEAGE", "CODEEXEC_LINEAGE_START", "CODEEXEC_SUPERVISOR_TOKEN"}
    code = "\n".join(path.read_text() for path in (ROOT / "codeexec_magic").rglob("*.py"))
    named = set(re.findall(r"CODEEXEC_[A-Z]+(?:_[A-Z]+)*\b", code)) - internal
    page = settings_reference.page()
    assert [name for name in sorted(named) if name not in page] == []


def test_values_hide_secrets() -> None:
    """The values in force are shown without passwords and tokens."""
    env = {"CELERY_BROKER_URL": "redis://:hidden@h", "CODEEXEC_ALERT": "https://h/hidden", "CODEEXEC_SLOTS": "3"}
    shown = [*settings_reference.rows(settings.Settings, env), *settings_reference.rows(WorkerSettings, env)]
    assert "hidden" not in repr(shown)
    assert [row.value for row in shown if row.value] == ["redis://:***@h:6379/0", "3", "***"]
