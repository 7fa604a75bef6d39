"""`eliza_agent`: a partner for a real dialogue that needs no network, no key and no model.

It listens in the manner of Joseph Weizenbaum's ELIZA (1966): the first rule whose pattern is found in the last
statement gives the answer, with what was found turned around ("I love my dog" becomes "you love your dog"). A statement
for which there is no rule brings back something that was said earlier in the dialogue.
"""

import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from miniagents.agents import InteractionContext, miniagent
from miniagents.ext.models._speech import Pace, reply_as_model, tokens_of
from miniagents.messages import Message

# A longer statement would bring nothing but long answers.
_LONGEST_STATEMENT: Final = 2000
_LONGEST_QUOTE: Final = 120


@miniagent
async def eliza_agent(
    ctx: InteractionContext,
    /,
    *,
    model: str = "eliza",
    stream: bool | None = None,
    seed: int = 0,
    time_to_first_token: float = 0.0,
    tokens_per_second: float | None = None,
    jitter: float = 0.0,
    **ignored: Any,
) -> None:
    """Talks about what it is told, without a model: rules that are half a century old. In English.

    It answers the last of the messages it is sent, and remembers what the user says in those before. The same messages
    with the same `seed` get the same answer. `time_to_first_token`, `tokens_per_second` and `jitter` are those of
    `scripted_agent`; all other arguments of the LLM agents (`system`, `temperature`, ...) are accepted and
    ignored; a misspelt one is refused.

    >>> import miniagents
    >>> print(*miniagents.run(eliza_agent.inquire("My name is Ada.")))
    Nice to meet you, Ada. What would you like to talk about?
    """
    pace = Pace(time_to_first_token, tokens_per_second, jitter, seed=seed)

    async def say(messages: tuple[Message, ...]) -> AsyncIterator[str]:
        for token in tokens_of(answer(messages, seed)):
            yield token

    reply_as_model(ctx, say, model=model, stream=stream, pace=pace, ignored=ignored)


def answer(messages: Sequence[Message], seed: int = 0) -> str:
    """What there is to say to these messages."""
    if not messages:
        return "Hello. What is on your mind?"
    statement = _normalise(str(messages[-1]))
    earlier = [message for message in messages[:-1] if message.get("role") not in ("assistant", "system")]
    already_said = {str(message) for message in messages[:-1] if message.get("role") == "assistant"}
    candidates = _candidates(statement, [_normalise(str(message)) for message in earlier])
    choice = random.Random(f"{seed}/{len(messages)}/{statement}")
    choice.shuffle(candidates)
    return next((candidate for candidate in candidates if candidate not in already_said), candidates[0])


def _candidates(statement: str, earlier: Sequence[str]) -> list[str]:
    for rule in _RULES:
        found = rule.pattern.search(statement)
        if found is not None:
            quotes = [reflect(quote) for quote in found.groups()]
            return [template.format(*quotes) for template in rule.answers]
    remembered = [reflect(found.group(0)) for text in earlier if (found := _WORTH_REMEMBERING.search(text)) is not None]
    if remembered:
        return [template.format(thing) for template in _RECALLING for thing in remembered]
    return list(_NOTHING_TO_GO_BY)


def reflect(words: str) -> str:
    """`words` as the listener has to say them.

    >>> reflect("I think you hate me because of my dog")
    'you think I hate you because of your dog'
    >>> reflect("you are what I was told about you")
    'I am what you were told about me'
    """
    turned = _PERSONS.sub(_turn, words.strip(" \t\"'")[:_LONGEST_QUOTE])
    return turned[:1].lower() + turned[1:] if turned.split(" ")[0] in _ARTICLES else turned


def _turn(found: "re.Match[str]") -> str:
    words = found.group(0).lower()
    if words == "you":
        before = found.string[: found.start()].split()
        after = found.string[found.end() :].split()
        is_object = not after or after[0] == "to" or (bool(before) and before[-1].lower() in _PREPOSITIONS)
        return "me" if is_object else "I"
    return _REFLECTIONS[words]


def _normalise(text: str) -> str:
    return " ".join(text[:_LONGEST_STATEMENT].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())


_REFLECTIONS: Final = {
    "i am": "you are",
    "i'm": "you are",
    "i was": "you were",
    "am i": "are you",
    "was i": "were you",
    "you are": "I am",
    "you're": "I am",
    "you were": "I was",
    "are you": "am I",
    "were you": "was I",
    "i've": "you have",
    "i'd": "you would",
    "i'll": "you will",
    "you've": "I have",
    "you'd": "I would",
    "you'll": "I will",
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "your": "my",
    "yours": "mine",
    "yourself": "myself",
    "you": "I",  # or "me", see `_turn`
}
# The longest first: "you are" must not be read as "you".
_PERSONS: Final = re.compile(
    r"\b(?:" + "|".join(sorted(map(re.escape, _REFLECTIONS), key=len, reverse=True)) + r")(?![\w'])", re.IGNORECASE
)
_PREPOSITIONS: Final = frozenset(("about", "after", "at", "for", "from", "like", "of", "on", "to", "with"))
_ARTICLES: Final = frozenset(("The", "A", "An", "My", "Your", "Our", "Their", "His", "Her", "This", "That"))


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: "re.Pattern[str]"
    answers: tuple[str, ...]


def _rule(pattern: str, *answers: str) -> _Rule:
    # `<>` stands for a clause that is to be quoted.
    return _Rule(re.compile(pattern.replace("<>", r"([^.!?;,]+)"), re.IGNORECASE), answers)


_WORTH_REMEMBERING: Final = re.compile(
    r"\bmy [^.!?;,]+|\bI (?:am|feel|want|need|think|love|hate|dream) [^.!?;,]+", re.IGNORECASE
)
_RECALLING: Final = (
    "Earlier you said: {0}. Has this to do with it?",
    "Let us go back to what you said before: {0}.",
    "I keep thinking of one thing you told me: {0}. Tell me more about that.",
)
_NOTHING_TO_GO_BY: Final = (
    "Please go on.",
    "I see. What does that mean to you?",
    "Tell me more about that.",
    "How do you feel when you say this?",
    "Can you think of an example?",
)
# In the order of precedence: the particular before the general.
_RULES: Final = (
    _rule(
        r"^(?:hello|hi|hey|good (?:morning|afternoon|evening))\b",
        "Hello. What is on your mind?",
        "Hi there. How are you feeling today?",
    ),
    _rule(
        r"\b(?:goodbye|bye|see you)\b",
        "Goodbye. It was good to talk to you.",
        "Take care. We can go on whenever you like.",
    ),
    _rule(r"\bmy name is <>", "Nice to meet you, {0}. What would you like to talk about?"),
    _rule(
        r"\bthank(?:s| you)\b",
        "You are welcome. What else is on your mind?",
        "There is no need to thank me. Shall we go on?",
    ),
    _rule(
        r"\bsorry\b",
        "There is nothing to be sorry for.",
        "What makes you want to apologise?",
    ),
    _rule(
        r"\b(?:computer|machine|robot|program|language model|chatbot|AI)s?\b",
        "I am a small set of rules, not a mind. Does that bother you?",
        "What part do machines play in what you want to talk about?",
        "Do machines worry you?",
    ),
    _rule(
        r"\b(mother|father|parents?|sister|brother|wife|husband|son|daughter|child(?:ren)?|family|friends?|boss)\b",
        "Tell me more about your {0}.",
        "How do you get along with your {0}?",
        "What comes to your mind when you think of your {0}?",
    ),
    _rule(
        r"\b(?:dreamt|dreamed|dream) (?:of|about|that) <>",
        "What does it tell you that you dream of {0}?",
        "Did you ever imagine {0} while you were awake?",
    ),
    _rule(
        r"\bI (?:need|want|would like|wish for) <>",
        "What would it change for you to get {0}?",
        "Why do you want {0}?",
        "Suppose you got {0} tomorrow. What then?",
    ),
    _rule(
        r"\bI(?: am|'m) (?:so |very |a bit )?(sad|unhappy|depressed|lonely|tired|afraid|angry|worried|anxious)\b",
        "I am sorry to hear that you are {0}. Since when?",
        "What do you think makes you {0}?",
        "What would help you to be less {0}?",
    ),
    _rule(
        r"\bI(?: am|'m) (?:so |very |really )?(happy|glad|excited|better|proud|relieved)\b",
        "That is good to hear. What has made you {0}?",
        "How does it show when you are {0}?",
    ),
    _rule(
        r"\bI feel <>",
        "Do you often feel {0}?",
        "What else do you feel when you feel {0}?",
        "When did you begin to feel {0}?",
    ),
    _rule(
        r"\bI (?:can't|cannot|can not) <>",
        "What keeps you from being able to {0}?",
        "How do you know that you cannot {0}?",
        "What would happen if you could {0}?",
    ),
    _rule(
        r"\bI (?:don't|do not) <>",
        "Why do you not {0}?",
        "Was there a time when you did {0}?",
    ),
    _rule(
        r"\bI (love|like|enjoy|hate|dislike|fear|miss) <>",
        "What is it about {1} that you {0}?",
        "Tell me when you first noticed that you {0} {1}.",
    ),
    _rule(
        r"\bI (?:think|believe|guess|suppose|know)(?: that)? <>",
        "What makes you think that {0}?",
        "Do others think so too, that {0}?",
        "How sure are you that {0}?",
    ),
    _rule(
        r"\bI(?: am|'m) <>",
        "How long have you been {0}?",
        "How do you feel about being {0}?",
        "What is it like to be {0}?",
    ),
    _rule(
        r"\bwhy (?:don't|do not|won't) you <>",
        "Do you think I should {0}?",
        "What would it mean to you if I did {0}?",
    ),
    _rule(
        r"\b(?:are|do|did|will|would|can|could|should) you\b<>",
        "We were speaking of you, not of me. Why does it matter to you?",
        "What would you think if I did?",
        "Perhaps. What made you ask?",
    ),
    _rule(
        r"\byou are <>",
        "What makes you think that I am {0}?",
        "Would you like me to be {0}?",
    ),
    _rule(
        r"\bbecause <>",
        "Is that the only reason?",
        "If it is so that {0}, what follows from it?",
    ),
    _rule(
        r"\bif <>",
        "How likely is it that {0}?",
        "What would you do if {0}?",
    ),
    _rule(
        r"\b(always|never|everybody|everyone|nobody|no one)\b",
        "Really {0}?",
        "Can you think of a case where that was not so?",
    ),
    _rule(
        r"^(?:yes|yeah|yep|sure|of course|right)\b",
        "You seem quite sure. Tell me why.",
        "Good. And what follows from that?",
    ),
    _rule(
        r"^(?:no|nope|not really)\b",
        "Why not?",
        "Are you saying no just to be on the safe side?",
    ),
    _rule(
        r"\bmy (\w+)",
        "Why do you say that about your {0}?",
        "What does your {0} mean to you?",
    ),
    _rule(
        r"\?$",
        "What do you think yourself?",
        "Why do you ask?",
        "What answer would you like best?",
        "Have you asked such questions before?",
    ),
)
