"""Question, answer, the tools that it calls, and the next question."""

from collections.abc import Sequence

from miniagents.ext.llm._exchange import Exchange
from miniagents.ext.llm._tool_calls import ToolCalls, not_run
from miniagents.ext.llm.errors import LLMTurnLimitError
from miniagents.ext.llm.messages import ToolCallMessage, ToolResultMessage
from miniagents.ext.llm.prompt import Prompt
from miniagents.ext.llm.structured import WantedAnswer, repair_request
from miniagents.messages import Message


async def take_turns(
    exchange: Exchange,
    messages: Sequence[Message],
    system: str | Message | None,
    tools: ToolCalls,
    max_turns: int | None,
    wanted: WantedAnswer,
) -> None:
    """Ask, run the tools that are called, and ask again, until an answer calls none that is run here.

    An answer that is not as it is `wanted` may be repaired once.
    """
    said = list(messages)
    turns = 0
    has_repaired = False
    while True:
        turns += 1
        prompt = Prompt.of(said, system, tools=tools.toolbox.schemas, answer=wanted.schema)
        answer = await exchange.ask(prompt, wanted.answer_class)
        if answer is None:
            return
        calls = [message for message in answer if isinstance(message, ToolCallMessage)]
        problem = None if calls else wanted.problem_of(answer)
        if problem is not None:
            if has_repaired or turns == max_turns:
                try:
                    raise problem
                finally:
                    del problem  # its traceback has this frame
            has_repaired = True
            said += [*answer, repair_request(problem)]
            continue
        ours = [call for call in calls if tools.toolbox.is_run_here(call.tool)]
        if not ours:
            return
        if turns == max_turns:
            why = f"The tool was not called: there may be {max_turns} answers, and this was the last one."
            exchange.ctx.reply([not_run(call, why) for call in ours])
            raise LLMTurnLimitError(f"The model has called tools in each of its {max_turns} answers.")
        results = await _results(exchange, tools, ours)
        # Without a result of each there is nothing to go on from; and the calls of others are for whoever has asked.
        if results is None or len(ours) < len(calls):
            return
        said += [*answer, *results]


async def _results(exchange: Exchange, tools: ToolCalls, calls: Sequence[ToolCallMessage]) -> list[Message] | None:
    """Reply with the results, each of which streams, and wait for all. `None` if one of them was stopped."""
    promises = [tools.run(call) for call in calls]
    exchange.ctx.reply(promises)
    results: list[Message] = []
    for promise in promises:
        try:
            results.append(await promise)
        except Exception:
            return None  # its own message tells it
    # Where errors are messages, the result of a tool that was stopped is one.
    return results if all(isinstance(result, ToolResultMessage) for result in results) else None
