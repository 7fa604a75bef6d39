"""`eliza_agent`: a dialogue without a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message, MiniAgents, run
from miniagents.ext.llm.llm_common import AssistantMessage, SystemMessage, UserMessage
from miniagents.ext.models import eliza_agent
from miniagents.ext.models.eliza import answer, reflect


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("I am sad", "you are sad"),
        ("I'm not what you think", "you are not what I think"),
        ("you are my friend", "I am your friend"),
        ("my dog loves me", "your dog loves you"),
        ("I told you", "you told me"),
        ("I will go with you tomorrow", "you will go with me tomorrow"),
        ("you were right and I was wrong", "I was right and you were wrong"),
        ("what you did to yourself", "what I did to myself"),
        ("this is mine and that is yours", "this is yours and that is mine"),
        ("I've seen that you'll win", "you have seen that I will win"),
        ("MY HOUSE", "your HOUSE"),
        ("an island in the image", "an island in the image"),
    ],
)
def test_words_are_turned_around(said: str, heard: str) -> None:
    """The first and the second person change places, and nothing else does."""
    assert reflect(said) == heard


@pytest.mark.parametrize(
    ("statement", "quote"),
    [
        ("I need a new job", "a new job"),
        ("I feel that nobody listens to me", "that nobody listens to you"),
        ("My sister called", "sister"),
        ("I can't sleep", "sleep"),
        ("I love my garden.", "your garden"),
        ("You are clever", "clever"),
        ("I dreamed of flying", "flying"),
        ("I\N{RIGHT SINGLE QUOTATION MARK}m an engineer", "an engineer"),
    ],
)
def test_an_answer_takes_up_what_was_said(statement: str, quote: str) -> None:
    """What a rule has found in the statement comes back in the answer, turned around."""
    assert all(quote in answer([UserMessage(text=statement)], seed) for seed in range(20))


def test_a_memory_comes_back() -> None:
    """Where the last statement says nothing, something that the user said earlier is taken up."""
    dialog = [
        SystemMessage(text="my secret rule"),
        UserMessage(text="My boat is leaking"),
        AssistantMessage(text="my own words"),
        UserMessage(text="Hm"),
    ]
    assert all("your boat is leaking" in answer(dialog, seed) for seed in range(20))


def test_an_answer_is_not_repeated() -> None:
    """As long as there is another one, an answer is not given twice in a dialogue."""
    dialog: list[Message] = []
    answers: list[str] = []
    for _ in range(5):
        dialog.append(UserMessage(text="Zzz"))
        answers.append(answer(dialog))
        dialog.append(AssistantMessage(text=answers[-1]))
    assert len(set(answers)) == 5


def test_the_seed_decides() -> None:
    """The same dialogue gets the same answer with the same seed, and not always with another one."""
    dialog = [UserMessage(text="I am tired")]
    assert answer(dialog, 1) == answer(dialog, 1)
    assert len({answer(dialog, seed) for seed in range(20)}) > 1


def test_it_speaks_first_when_nothing_was_said() -> None:
    """Without any message it opens the dialogue."""
    assert [str(message) for message in run(eliza_agent.inquire())] == ["Hello. What is on your mind?"]


@given(st.lists(st.text()), st.integers())
def test_it_has_an_answer_to_everything(texts: list[str], seed: int) -> None:
    """There is an answer, and no error, to every text in every dialogue."""
    assert answer([Message(text) for text in texts], seed)


@pytest.mark.parametrize("text", ["my " * 500_000, " " * 1_000_000, "I am " + "x" * 1_000_000], ids=["my", " ", "x"])
async def test_an_endless_statement_is_answered_at_once(text: str) -> None:
    """A megabyte is answered briefly and without searching all of it."""
    async with MiniAgents():
        (message,) = await eliza_agent.inquire(text)
    assert 0 < len(str(message)) < 500
