"""Generate, run, repair: how a model that writes code is wired to sandboxes. Run it, or see the notebook beside it.

The model is a list of canned answers, some of them wrong, slow or hostile. To use a real one, replace ``CannedModel``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from codeexec_magic import Client, Job
from codeexec_magic.agents.transcript import bounded, error_text, verdict
from codeexec_magic.errors import BadRequest

#: candidates that run or wait at the same time
AT_ONCE = 20
ROUNDS = 3
#: seconds that one candidate may take
TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Task:
    """What the model is asked, and how its answer is checked."""

    name: str
    prompt: str
    checks: str  #: runs after the answer, in the same sandbox


@dataclass
class Candidate:
    """One line of attempts at a task: an answer, what came of it, the next answer."""

    task: Task
    number: int
    verdicts: list[str] = field(default_factory=list)
    feedback: str = ""

    @property
    def passed(self) -> bool:
        """Whether the last answer passed all checks."""
        return self.verdicts[-1:] == ["passed"]


TASKS = [
    Task("add", "Write add(a, b).", "assert add(2, 3) == 5\nassert add(-1, 1) == 0"),
    Task(
        "primes",
        "Write primes(n): all primes below n.",
        "assert primes(12) == [2, 3, 5, 7, 11]\nassert primes(2) == []",
    ),
    Task("flatten", "Write flatten(items) for nested lists.", "assert flatten([1, [2, [3]], []]) == [1, 2, 3]"),
    Task("wc", "Write wc(text): counts of words.", "assert wc('a b a') == {'a': 2, 'b': 1}\nassert wc('') == {}"),
]
GOOD = {
    "add": "def add(a, b):\n    return a + b",
    "primes": "def primes(n):\n    return [p for p in range(2, n) if all(p % q for q in range(2, p))]",
    "flatten": "def flatten(x):\n    return [z for y in x for z in flatten(y)] if isinstance(x, list) else [x]",
    "wc": "from collections import Counter\ndef wc(text):\n    return dict(Counter(text.split()))",
}
BAD = [
    "def {name}(*args):\n    return None",
    "def {name}(*args) return 1",
    "while True: pass",
    "import os\nos._exit(0)  # ends well, and checks nothing",
    "open('/etc/passwd', 'a').write('x')",
    "x = bytearray(10**10)",
]


class CannedModel:
    """Answers that were written before; what a task's candidates answer first differs, and the third try is right."""

    def answer(self, candidate: Candidate) -> str:
        """The next answer; a real model would be sent the prompt and ``candidate.feedback``.

        Args:
            candidate: knows its task and what came of its earlier answers.
        """
        tried = len(candidate.verdicts)
        if candidate.number % 5 == 0 or tried == ROUNDS - 1:
            return GOOD[candidate.task.name]
        return BAD[(candidate.number + tried) % len(BAD)].format(name=candidate.task.name)


def judge(job: Job) -> tuple[str, str]:
    """The verdict on an answer, and what the model is told of it.

    Args:
        job: ran the answer and its checks.
    """
    result = job.result()
    # an answer that ended before the checks did has ended well, too: only the value set after them counts
    if result.success and "passed" in result.values:
        return "passed", ""
    if result.success:
        return "left early", "the program ended before its checks"
    return str(result.reason), bounded(error_text(result) or verdict(result), 2000)


def attempt(client: Client, model: CannedModel, candidates: list[Candidate]) -> None:
    """One answer of each candidate: all run at the same time, each in a sandbox of its own.

    Args:
        client: the cluster.
        model: gives the answers.
        candidates: at most ``AT_ONCE``.
    """
    jobs: list[tuple[Candidate, Job]] = []
    for candidate in candidates:
        code = f"{model.answer(candidate)}\n{candidate.task.checks}\npassed = True"
        try:
            job = client.submit(code, timeout=TIMEOUT_S, memory_mb=256, retries=0, cache=False, outputs=["passed"])
            jobs.append((candidate, job))
        except BadRequest as err:  # it does not parse: nothing was run
            candidate.verdicts.append("refused")
            candidate.feedback = str(err)
    for candidate, job in jobs:
        found, candidate.feedback = judge(job)
        candidate.verdicts.append(found)


def loop(client: Client, model: CannedModel, each: int = 10) -> Iterator[list[Candidate]]:
    """Rounds of answers, until all candidates pass or ``ROUNDS`` are over; yields all candidates after each.

    Args:
        client: the cluster.
        model: gives the answers.
        each: candidates of each task.
    """
    candidates = [Candidate(task, number) for task in TASKS for number in range(each)]
    for _ in range(ROUNDS):
        open_ = [candidate for candidate in candidates if not candidate.passed]
        for start in range(0, len(open_), AT_ONCE):
            attempt(client, model, open_[start : start + AT_ONCE])
        yield candidates


def table(candidates: list[Candidate]) -> str:
    """Pass rates by task, and how often each verdict was given.

    Args:
        candidates: after a round.
    """
    lines = []
    for task in TASKS:
        own = [candidate for candidate in candidates if candidate.task is task]
        lines.append(f"{task.name:10} {sum(candidate.passed for candidate in own):3} of {len(own)} passed")
    counts = Counter(found for candidate in candidates for found in candidate.verdicts)
    return "\n".join([*lines, "verdicts: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))])


if __name__ == "__main__":
    with Client() as shared:
        for number, found in enumerate(loop(shared, CannedModel()), 1):
            print(f"round {number}\n{table(found)}\n")
