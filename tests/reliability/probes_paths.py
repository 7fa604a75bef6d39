"""Paths: nothing that is said, and no name of a model, role or agent, makes or chooses a file."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from miniagents import Message, MiniAgents, miniagent
from miniagents.ext import _chat_file
from miniagents.ext._chat_markdown import EntryWriter
from miniagents.ext.chat_history_md import ChatHistoryMD
from miniagents.ext.llm.llm_common import AssistantMessage, UserMessage
from reliability.probes import Expect, PlantedHole, Probes
from reliability.probes_models import FakeModel, openai_chunks

PATHS = Probes("paths")

ELSEWHERE = "ELSEWHERE"  # stands for a folder, by its whole path

NAMES: dict[str, str] = {
    "a provider and a model": "meta-llama/Llama-3",
    "the folder above": "../evil",
    "many folders above": "../../../evil",
    "folders above, inside": "a/../../../evil",
    "folders above, with dots between": "....//....//evil",
    "this folder": ".",
    "only the folder above": "..",
    "a whole path": f"{ELSEWHERE}/evil",
    "a whole path behind two slashes": f"//{ELSEWHERE}/evil",
    "a whole path behind a name": f"gpt-5 {ELSEWHERE}/evil",
    "a folder that is not there": "new/folder/evil",
    "a file of the system": "/etc/passwd",
    "a device": "/dev/stdout",
    "an open file": "/proc/self/fd/1",
    "the home": "~/evil",
    "somebody's home": "~root/evil",
    "a variable": "$HOME/evil",
    "a variable in braces": "${HOME}/evil",
    "a variable of Windows": "%USERPROFILE%\\evil",
    "backslashes": "..\\..\\evil",
    "a drive": "C:\\evil",
    "a share": "\\\\host\\share\\evil",
    "a device of Windows": "CON",
    "a stream of Windows": "evil.txt:hidden",
    "a null": "evil\0.md",
    "a null behind a path": f"{ELSEWHERE}/evil\0",
    "a line feed": "evil\n/evil2",
    "an escape": "\x1b]0;evil\a",
    "300 characters": "e" * 300,
    "100 folders": "e/" * 100 + "evil",
    "5000 characters": "e" * 5000,
    "nothing": "",
    "a blank": " ",
    "a hidden file": ".evil",
    "an option": "-rf",
    "a wildcard": "*",
    "a command": "$(touch evil)",
    "a command in backticks": "`touch evil`",
    "a second command": "; touch evil",
    "a pipe": "| tee evil",
    "a redirection": "> evil",
    "an address of a file": f"file://{ELSEWHERE}/evil",
    "in percent signs": "%2e%2e%2fevil",
    "in percent signs twice": "%252e%252e%252fevil",
    "full width": "\uff0e\uff0e\uff0fevil",
    "overlong": "\xc0\xae\xc0\xae\xc0\xafevil",
    "a fraction slash": "..\u2044evil",
    "turned around": "\u202elive/..",
    "half a surrogate pair": "evil\ud800",
    "the history itself": "CHAT.md",
    "a lock beside the history": "CHAT.md.lock",
    "the environment": ".env",
    "a link of Markdown": "[evil](../evil)",
    "an inclusion": "!include ../evil",
}


class Place:
    """A folder to work in, deep in a tree of which nothing else may change."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "one" / "two" / "work"
        self.elsewhere = root / "elsewhere"
        for folder in (self.work, self.elsewhere, root / "home", root / "temporary"):
            folder.mkdir(parents=True)
        self.history = self.work / "CHAT.md"

    def name(self, name: str) -> str:
        """A name, with the path of this place in it."""
        return name.replace(ELSEWHERE, str(self.elsewhere))

    def files(self) -> list[str]:
        """All that is in the tree and not a folder that was there."""
        known = {self.root / "one", self.root / "one" / "two", self.work, self.elsewhere}
        known |= {self.root / "home", self.root / "temporary"}
        return sorted(path.name for path in self.root.rglob("*") if path not in known)


@contextlib.contextmanager
def _place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        before, mask = Path.cwd(), os.umask(0)
        variables = {"HOME": str(place.root / "home"), "TMPDIR": str(place.root / "temporary")}
        try:
            os.chdir(place.work)
            with patch.dict(os.environ, variables):
                yield place
        finally:
            os.chdir(before)
            os.umask(mask)


def _in_a_place(act: Callable[[Expect, Place, str], Any], *, files: list[str]) -> Callable[[Expect, str], Any]:
    """Do something with a name, and look at what has come of it in the tree of files."""

    async def check(expect: Expect, name: str) -> None:
        with _place() as place:
            async with MiniAgents():
                await act(expect, place, place.name(name))
            expect(place.files() == files, f"there are the files {place.files()}")
            if files:
                mode = stat.S_IMODE(place.history.stat().st_mode)
                expect(mode == 0o600, f"the history has the mode {mode:o}")

    return check


async def _written(expect: Expect, place: Place, *messages: Any) -> None:
    history = ChatHistoryMD(place.history)
    await history.logging_agent.inquire(messages)
    loaded = await history.aload_chat_history()
    expect(len(loaded) == len(messages), f"{loaded} was written down")


async def _model_of_a_message(expect: Expect, place: Place, name: str) -> None:
    await _written(expect, place, AssistantMessage("hi", model=name), UserMessage("ho"))


async def _role_of_a_message(expect: Expect, place: Place, name: str) -> None:
    await _written(expect, place, Message("hi", role=name), UserMessage("ho"))


async def _said(expect: Expect, place: Place, name: str) -> None:
    """As a text, which a model says to a history of a dialog."""
    model = FakeModel([{"model": name, "id": name, **chunk} for chunk in openai_chunks(name, " and more")])
    said = model.agent.inquire(f"What is in {name}?")
    await _written(expect, place, UserMessage(name), said)


async def _asked(expect: Expect, place: Place, name: str) -> None:
    """As the model that is asked, the alias of the agent that asks, and the words of its error."""
    model = FakeModel(openai_chunks("fine"))
    (reply,) = await model.agent.fork(alias=name, model=name).inquire(name, system=name)
    expect((reply["model"], reply["agent_alias"]) == (name, name), repr(reply))
    failing = FakeModel([{"error": {"message": name, "type": name}}])
    (error,) = await failing.agent.fork(alias=name, model=name).inquire(name).settled()
    expect(isinstance(error, RuntimeError), repr(error))


async def _aliased(expect: Expect, place: Place, name: str) -> None:
    """As the alias of an agent whose calls somebody writes down."""

    @miniagent(alias=name, description=name)
    async def agent(ctx: Any) -> None:
        ctx.reply(Message(name, path=name, file=name))

    seen: list[Message] = []

    async def keep(_: Any, message: Message) -> None:
        seen.append(message)

    async with MiniAgents(on_persist_message=keep):
        await agent.inquire(name)
    expect(any(message.get("agent_alias") == name for message in seen), "nobody was told of the call")


ONE = ["CHAT.md"]
PATHS.table("the model of a message in a history", NAMES, _in_a_place(_model_of_a_message, files=ONE))
PATHS.table("the role of a message in a history", NAMES, _in_a_place(_role_of_a_message, files=ONE))
PATHS.table("what is said in a dialog with a history", NAMES, _in_a_place(_said, files=ONE))
PATHS.table("the model that is asked", NAMES, _in_a_place(_asked, files=[]))
PATHS.table("an agent that is observed", NAMES, _in_a_place(_aliased, files=[]))

# ---------------------------------------------------------------------- mistakes that must be found


def _also_to_a_file(original: Callable[..., None]) -> Callable[..., None]:
    def init(self: EntryWriter, role: str, model: str | None = None) -> None:
        """Each model has a file of its own, beside the history."""
        with contextlib.suppress(OSError, ValueError):
            Path(f"{model}.log").write_text("hi", encoding="utf-8")
        original(self, role, model)

    return init


HOLES = [
    PlantedHole(
        "paths",
        "the model of a message in a history",
        "a log for each model",
        lambda: patch.object(EntryWriter, "__init__", _also_to_a_file(EntryWriter.__init__)),
    ),
    PlantedHole(
        "paths",
        "what is said in a dialog with a history",
        "a history that everybody may read",
        lambda: patch.object(_chat_file, "_OWNER_ONLY", 0o644),
    ),
]
