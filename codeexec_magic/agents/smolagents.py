"""An executor for smolagents: ``CodeAgent(tools=[], model=model, executor=CodeexecExecutor())``."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import PIL.Image
from smolagents.local_python_executor import CodeOutput
from smolagents.monitoring import AgentLogger
from smolagents.remote_executors import RemotePythonExecutor
from smolagents.utils import AgentError

from codeexec_magic.agents.dry_run import packages
from codeexec_magic.agents.remote_exec import shared_client
from codeexec_magic.agents.replayed_context import ReplayedContext
from codeexec_magic.agents.transcript import bounded, error_text, output_text, pictures
from codeexec_magic.client import Client
from codeexec_magic.contract import QUEUE_DEFAULT
from codeexec_magic.errors import BadRequest, NoValue


class CodeexecExecutor(RemotePythonExecutor):
    """Runs an agent's steps, each in a fresh sandbox in which the earlier ones run again first.

    Args:
        client: runs the code; by default a client for the cluster that the environment names.
        timeout: seconds of one step with all before it.
        logger: of the agent.
    """

    def __init__(
        self, client: Client | None = None, *, timeout: float = 60.0, logger: AgentLogger | None = None
    ) -> None:
        super().__init__([], logger or AgentLogger())
        self._timeout = timeout
        self._client = client or shared_client()
        self._context = ReplayedContext(self._client)

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        """Run one step.

        Raises:
            AgentError: it failed; the agent shows its text to the model.
        """
        try:
            job = self._context.submit(code, timeout=self._timeout)
        except BadRequest as err:
            raise AgentError(str(err), self.logger) from None
        result = job.result()
        logs = output_text(result)
        if result.error is not None and result.error.ename == self.FINAL_ANSWER_EXCEPTION:
            # the SDK's own safe format; pickles are refused
            return CodeOutput(self._deserialize_final_answer(result.error.evalue, False), logs, True)
        if not result.success:
            raise AgentError(f"{logs}\n{error_text(result)}".strip(), self.logger)
        self._context.keep(code, result)
        shown = pictures(result)
        if shown:
            return CodeOutput(PIL.Image.open(BytesIO(base64.b64decode(shown[-1].data))), logs, False)
        try:
            return CodeOutput(result.value, logs, False)
        except NoValue:
            return CodeOutput(bounded(logs), logs, False)

    def install_packages(self, additional_imports: Sequence[str]) -> list[str]:
        """Nothing is installed in a sandbox: what the workers have can be imported.

        Raises:
            AgentError: the workers lack a package.
        """
        there = {_canonical(name) for name in packages(self._client, QUEUE_DEFAULT)}
        lacking = [name for name in additional_imports if _canonical(name) not in there]
        if lacking:
            raise AgentError(f"the workers lack {', '.join(lacking)}: install it where they run", self.logger)
        return list(additional_imports)

    def send_variables(self, variables: Mapping[str, Any]) -> None:
        """Bind the agent's variables."""
        super().send_variables(dict(variables))

    def cleanup(self) -> None:
        """Forget the steps."""
        self._context.clear()


def _canonical(package: str) -> str:
    """The name of a package as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()
