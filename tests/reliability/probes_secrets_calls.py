"""Secrets, in calls and reports: what an agent is called with is not written down, and the doctor tells no values."""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from miniagents import Message, MiniAgents, miniagent
from miniagents.agents import nodes
from miniagents.cli import doctor
from reliability.probes import Expect, PlantedHole
from reliability.probes_secrets import CANARY, SECRETS, all_of_an_error, logged, no_canary


@miniagent
async def vault(ctx: Any, *, password: Any = None, then: str = "", **more: Any) -> Any:
    """Knows a password, and says nothing of it."""
    ctx.reply("fine")
    if then == "raise":
        raise ValueError("no")
    return "nobody gets it" if then == "return" else None


class Sealed:
    """A secret that shows itself to whoever looks."""

    def __repr__(self) -> str:
        return CANARY


KWARGS: dict[str, dict[str, Any]] = {
    "a text": {"password": CANARY},
    "a list": {"password": [CANARY]},
    "a dict": {"password": {"inner": CANARY}},
    "an object": {"password": Sealed()},
    "bytes": {"password": CANARY.encode()},
    "a message": {"password": Message(CANARY)},
    "a function": {"password": lambda: CANARY},
    "a name of its own": {CANARY[:6]: CANARY},
    "and an error": {"password": CANARY, "then": "raise"},
    "and a return": {"password": CANARY, "then": "return"},
}


async def _of_a_call(expect: Expect, kwargs: dict[str, Any]) -> None:
    kept: list[str] = []

    async def keep(promise: Any, message: Any) -> None:
        kept.append(f"{promise!r} {message!r} {message} {getattr(message, 'serialize', str)()}")

    with logged() as keeper:
        async with MiniAgents(on_persist_message=keep, on_promise_resolved=keep):
            preset = vault.fork(**kwargs)
            replies = preset.inquire("hi")
            call = vault.initiate_inquiry(**kwargs)
            more = call.reply_sequence()
            objects = [preset, replies, call, more, preset.__doc__, preset.description, vars(preset.inquire)]
            for outcome in (await replies.settled(), await more.settled()):
                objects += [outcome, *(all_of_an_error(one) for one in outcome if isinstance(one, BaseException))]
    expect(sum("AgentCallNode" in one for one in kept) >= 2, "nobody was told of the calls")
    no_canary(expect, "a call", "\n".join([*map(repr, objects), *map(str, objects[:1]), *kept, keeper.text]))


async def _of_a_mistake(expect: Expect, kwargs: dict[str, Any]) -> None:
    """A call that is refused names the arguments, and not what they are."""

    @miniagent
    async def strict(ctx: Any, *, needed: Any) -> None:
        ctx.reply("fine")

    mistakes: list[Callable[[], object]] = [
        lambda: strict.inquire("hi", **kwargs),
        lambda: strict.fork(**kwargs),
        lambda: strict.inquire("hi", None, None, kwargs),
        lambda: strict.initiate_inquiry(**kwargs),
        lambda: strict(**kwargs),
    ]
    for mistake in mistakes:
        try:
            mistake()
        except TypeError as error:
            told = [str(error), repr(error), *traceback.format_exception_only(error)]
            no_canary(expect, "the error", "\n".join(told))
        else:
            expect(False, "it was not refused")


SECRETS.table("the arguments of a call", KWARGS, _of_a_call)
SECRETS.table("the arguments of a call that is refused", KWARGS, _of_a_mistake)

# ---------------------------------------------------------------------- the doctor

VARIABLES = {
    "OPENAI_API_KEY": CANARY,
    "ANTHROPIC_API_KEY": CANARY,
    "OPENAI_ADMIN_KEY": CANARY,
    "ANTHROPIC_AUTH_TOKEN": CANARY,
    "OPENAI_BASE_URL": f"http://user:{CANARY}@host/v1?key={CANARY}",
    "ANTHROPIC_BASE_URL": f"http://user:{CANARY}@host",
    "HTTPS_PROXY": f"http://user:{CANARY}@proxy",
}


def _examined(expect: Expect, variable: str) -> None:
    """By variable, in the environment and in a file, as text and as JSON."""
    before = Path.cwd()
    for as_json in (False, True):
        for in_file in (False, True):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as output:
                os.chdir(folder)
                try:
                    with patch.dict(os.environ), patch.object(doctor, "find_local_servers", tuple):
                        if in_file:
                            Path(".env").write_text(f"{variable}={VARIABLES[variable]}\nbroken {CANARY}\n", "utf-8")
                        else:
                            os.environ[variable] = VARIABLES[variable]
                        with logged() as keeper, contextlib.redirect_stderr(output):
                            doctor.run(argparse.Namespace(json=as_json))
                finally:
                    os.chdir(before)
            expect("miniagents" in output.getvalue(), "it said nothing")
            no_canary(expect, "the doctor", output.getvalue() + keeper.text)


SECRETS.table("what the doctor tells", {name: name for name in VARIABLES}, _examined)

# ---------------------------------------------------------------------- mistakes that must be found


def _node_with_arguments(original: Any) -> Any:
    def observe(context: Any, alias: str, messages: Any, replies: Any) -> None:
        """Whoever records a call wants to know what it was given."""
        frame = sys._getframe(1)
        given = frame.f_locals.get("kwargs", {})
        original(context, f"{alias} {given}", messages, replies)

    return observe


HOLES = [
    PlantedHole(
        "secrets",
        "the arguments of a call",
        "the node of a call has its arguments",
        lambda: patch("miniagents.agents.interaction.observe_call", _node_with_arguments(nodes.observe_call)),
    ),
    PlantedHole(
        "secrets",
        "what the doctor tells",
        "the doctor shows the values of variables",
        lambda: patch.object(doctor, "_whence", lambda variable, from_file: os.environ.get(variable)),
    ),
]
