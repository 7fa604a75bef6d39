"""Calls of tools, each of which becomes a message of the reply."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any, Final

from pydantic_core import to_json

from miniagents.agents import MiniAgent
from miniagents.ext.llm._tool_arguments import read_arguments
from miniagents.ext.llm._toolbox import Toolbox
from miniagents.ext.llm.errors import LLMParameterError, ToolError
from miniagents.ext.llm.messages import Approval, ApprovalRequest, ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.tools import Tool
from miniagents.messages import MessagePromise
from miniagents.messages.message import describe_error
from miniagents.promising.errors import OrderlyEnd
from miniagents.promising.stream import closing

logger = logging.getLogger(__name__)

_AT_A_TIME: Final = 64
"""So many calls of tools run at a time in one call of an agent: a model may write any number, each with a thread."""


class ToolCalls:
    """Runs what a model calls.

    Nothing that a model or a tool has said chooses more here than one of the tools that there are, and its arguments.
    """

    def __init__(self, toolbox: Toolbox, approver: MiniAgent[...] | None) -> None:
        if approver is not None and not isinstance(approver, MiniAgent):
            raise LLMParameterError(f"`approver` is an agent, not {type(approver).__name__}.")
        if approver is None and (waiting := [tool.name for tool in toolbox.tools.values() if tool.needs_approval]):
            raise LLMParameterError(
                f"Nobody can approve of calls of {', '.join(waiting)}: `approver=` names the agent that is asked, such "
                "as `console_user_agent`."
            )
        self.toolbox = toolbox
        self._approver = approver
        self._turn_to_ask = asyncio.Lock()
        self._room = asyncio.Semaphore(_AT_A_TIME)

    def run(self, call: ToolCallMessage) -> MessagePromise:
        """The result, which is on its way. It ends in an error only if somebody has stopped it."""

        async def result(known_at_end: dict[str, Any]) -> AsyncIterator[str]:
            said = False
            try:
                async with closing(self._result(call)) as pieces:
                    async for piece in pieces:
                        said = said or bool(piece)
                        yield piece
            except OrderlyEnd:
                raise  # a user that the tool has asked, or who was to approve, has ended the dialog
            except Exception as error:
                known_at_end["is_error"] = True
                what = str(error) if str(error).strip() else "The tool has failed."  # an empty error is refused
                if not isinstance(error, ToolError):
                    # The model is told, and may well go on without a word to anybody; it may be a mistake in the tool.
                    logger.warning("The tool %s has failed, and the model is told so.", call.tool, exc_info=error)
                    what = describe_error(error)
                yield f"\n\n{what}" if said else what

        # Never held back: the model waits for the whole, whatever other readers do.
        return ToolResultMessage.promise(
            result, start_asap=True, max_ahead=math.inf, role="tool", call_id=call.call_id, tool=call.tool
        )

    async def _result(self, call: ToolCallMessage) -> AsyncIterator[str]:
        tool = self.toolbox.tools.get(call.tool)
        if tool is None:
            known = ", ".join([*self.toolbox.tools, *self.toolbox.foreign])
            raise ToolError(f"There is no tool named {call.tool!r}. The tools are: {known}.")
        written = read_arguments(str(call))
        arguments = tool.check(written)
        if tool.needs_approval:
            await self._ask(tool, written)
        async with self._room, closing(tool.run(arguments)) as pieces:
            async for piece in pieces:
                yield piece

    async def _ask(self, tool: Tool, written: dict[str, Any]) -> None:
        """Raise `ToolError` unless the approver says yes."""
        assert self._approver is not None  # or this object could not have been made
        # Written anew, so that what is shown is what is run, whatever a reader may see in the model's own words.
        arguments = to_json(written).decode()
        question = f"May I call {tool.name} with {arguments}? (yes or no)"
        async with self._turn_to_ask:
            answers = await self._approver.inquire(ApprovalRequest(question, tool=tool.name, arguments=arguments))
        answer = answers[-1] if answers else None
        if isinstance(answer, Approval):
            approved = answer.approved
        else:
            approved = answer is not None and answer.is_answer and str(answer).strip(" \t\n.!").lower() in ("yes", "y")
        if not approved:
            said = "" if answer is None or not answer.text else f": {answer}"
            raise ToolError(f"The call was not approved{said}")


def not_run(call: ToolCallMessage, why: str) -> ToolResultMessage:
    """The result of a call that is not run."""
    return ToolResultMessage(why, role="tool", call_id=call.call_id, tool=call.tool, is_error=True)
