"""Options of a cell travel with its code: from a job to a new cell, from a cell into the form."""
# ruff: noqa: E501

from __future__ import annotations

from codeexec_magic.contract import QUEUE_HEAVY, ExecutionRequest, Limits
from codeexec_magic.panel import options_line
from codeexec_magic.panel.submit_form import SubmitForm


def test_a_request_becomes_the_line_it_came_from() -> None:
    """Every option that is not the default is there."""
    request = ExecutionRequest(
        "id",
        "x",
        limits=Limits(soft_s=20, hard_s=50, memory_mb=2048),
        retries=0,
        retry_waits_s=(1.0, 2.5),
        cache="off",
        network=True,
        inputs={"a": 1, "b": 2},
        outputs=("x", "y"),
    )
    assert options_line.of_request(request) == (
        "--queue code_execution --timeout 20 --memory 2048MB --retries 0 --retry-waits 1,2.5 --no-cache --network"
        " --in a,b --out x,y"
    )
    assert options_line.of_request(ExecutionRequest("id", "x")) == "--queue code_execution"
    heavy = ExecutionRequest("id", "x", queue=QUEUE_HEAVY, limits=Limits(soft_s=240, hard_s=300, cpu_s=300))
    assert options_line.of_request(heavy) == f"--queue {QUEUE_HEAVY}"


def test_a_hostile_queue_stays_one_word() -> None:
    """A new cell holds one line of options whatever the record says."""
    line = options_line.of_request(ExecutionRequest("id", "x", queue="a\nimport os; \x1b[2J b"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.startswith("--queue '")


def test_a_cell_fills_the_form_with_its_options() -> None:
    """What has a field of its own goes there, everything else behind it; submitting says the same again."""
    source = "%%remote_exec -q code_execution_heavy --timeout=20 --memory 2GB --retries 0 --no-cache --in a,b --html frame\nx = 1"
    form = SubmitForm(lambda *_: None, lambda: [("[1] x", source)], lambda: [])
    form._from.value = source
    assert form.area.value == "x = 1"
    assert (form._timeout.value, form._memory.value, form._retries.value) == ("20", "2GB", "0")
    assert form.line() == (
        "--queue code_execution_heavy --timeout 20 --memory 2GB --retries 0 --no-cache --in a,b --html frame"
    )


def test_options_that_the_form_does_not_offer_are_kept() -> None:
    """An unknown profile or queue is not dropped, and a quote that is not closed is shown."""
    form = SubmitForm(lambda *_: None, lambda: [], lambda: ["big"])
    form.load("x", options="--profile other -q special --refresh")
    assert form.line() == "--queue code_execution --refresh --profile other --queue special".replace(
        "--profile other --queue special", form._more.value
    )
    assert set(form._more.value.split()) == {"--profile", "other", "--queue", "special"}
    form.load("x", options="--profile 'big")
    assert "'big" in form.line()
    form.load("y")
    assert "'big" in form.line()
