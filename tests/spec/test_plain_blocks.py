"""The specification's blocks that need neither a model nor a terminal, each in a process of its own."""

from pathlib import Path

import pytest

from support.processes import run_python
from support.spec_programs import (
    IMPORT_ASYNCIO,
    IMPORT_MINI_AGENTS_CLASS,
    IMPORT_MINIAGENTS,
    block,
    in_main,
    write_program,
)

pytestmark = pytest.mark.timeout(60)


async def output_of(folder: Path, *parts: str) -> str:
    """What a program made of these parts prints; it must end well and without a word on stderr."""
    ended = await run_python(write_program(folder, *parts), cwd=folder)
    assert (ended.status, ended.stderr) == (0, "")
    return ended.stdout


async def test_block_01_defines_an_agent(tmp_path: Path) -> None:
    """Defining an agent starts nothing and says nothing."""
    assert await output_of(tmp_path, block(1)) == ""


async def test_block_02_inquires_it(tmp_path: Path) -> None:
    """The agent of block 1 gets a string and answers with the text of that message in a string of its own."""
    output = await output_of(tmp_path, block(1), in_main(block(2)))
    assert output == "(Message(text='You said: Hello!'),)\n"


async def test_block_03_passes_replies_from_agent_to_agent(tmp_path: Path) -> None:
    """One agent's replies are another one's input; the output is the one that the specification shows."""
    output = await output_of(tmp_path, IMPORT_ASYNCIO, block(3))
    assert output == "(Message(text='Agent 2 received: Hello from Agent 1!'),)\n"


async def test_block_04_runs_a_simple_agent(tmp_path: Path) -> None:
    """The agent's body runs once when its replies are awaited."""
    assert await output_of(tmp_path, block(4)) == "Agent is running\n"


async def test_block_05_defines_an_agent_through_the_second_door(tmp_path: Path) -> None:
    """`miniagents.miniagents` has the decorator and the context as well."""
    assert await output_of(tmp_path, block(5)) == ""


async def test_block_06_reads_replies_one_by_one(tmp_path: Path) -> None:
    """Replies can be iterated; an awaited reply prints as its text."""
    assert await output_of(tmp_path, block(5), block(6)) == "Hello, I am an agent!\n"


async def test_block_14_runs_two_agents_inside_a_third(tmp_path: Path) -> None:
    """Replying with a list of inquiries runs all of them."""
    output = await output_of(tmp_path, block(14))
    assert sorted(output.splitlines()) == ["Agent 1 is running", "Agent 2 is running"]


async def test_block_15_subclasses_message(tmp_path: Path) -> None:
    """A subclass of `Message` has its own fields beside the text."""
    assert await output_of(tmp_path, block(15)) == "Hello\nCustom Value\n"


async def test_block_16_makes_messages_of_each_role(tmp_path: Path) -> None:
    """The three message classes take a text and know their role."""
    look = "for m in (user_message, system_message, assistant_message): print(m.role, m.text, sep=': ')\n"
    output = await output_of(tmp_path, block(16), look)
    assert output == "user: Hello!\nsystem: System message\nassistant: Assistant message\n"


async def test_block_17_joins_messages(tmp_path: Path) -> None:
    """Messages are joined with an empty line between them by default."""
    assert await output_of(tmp_path, IMPORT_MINIAGENTS, block(17)) == "Hello\n\nworld\n"


async def test_block_18_splits_a_message(tmp_path: Path) -> None:
    """A message is split at empty lines by default."""
    output = await output_of(tmp_path, IMPORT_MINIAGENTS, block(18))
    assert output == "(Message(text='Hello'), Message(text='world'))\n"


async def test_block_19_joins_with_a_delimiter(tmp_path: Path) -> None:
    """The delimiter is a parameter, and contexts nest."""
    assert await output_of(tmp_path, IMPORT_MINI_AGENTS_CLASS, block(19)) == "Hello World\n"


async def test_block_20_opens_an_empty_context(tmp_path: Path) -> None:
    """A context in which nothing happens opens and closes."""
    assert await output_of(tmp_path, in_main(block(20) + "    pass\n")) == ""


async def test_block_21_defines_an_agent_without_annotations(tmp_path: Path) -> None:
    """An agent needs no annotations and may take any keyword."""
    assert await output_of(tmp_path, block(21) + "    pass\n") == ""
