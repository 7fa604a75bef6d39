"""What the scripted models of `miniagents demo` say, and how fast."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from miniagents import Message
from miniagents.cli.demo_agents import Crew
from miniagents.ext.models import scripted_agent

DEFAULT_QUESTION: Final = "Why is the sky blue, and why are sunsets red?"


@dataclass(frozen=True, slots=True)
class Chapter:
    """A sub-question: the pages that are found for it, with the notes on each, and the section that comes of them."""

    notes: Mapping[str, str]
    section: str


_SKY: Final = {
    "What does the air do to sunlight?": Chapter(
        {
            "Scattering in clear air": (
                "The molecules of the air are far smaller than a wavelength of light. They scatter short waves "
                "much more than long ones: with the fourth power of the frequency, about nine times more at 400 "
                "than at 700 nm."
            ),
            "What white light is made of": (
                "Sunlight is a mixture of all colours. A prism bends each by another angle and lays them side "
                "by side, from red with the longest waves to violet with the shortest."
            ),
        },
        "White sunlight holds all colours. On its way through the air, the short waves at the blue end are "
        "scattered in every direction by molecules, while the long waves at the red end mostly pass straight "
        "through.",
    ),
    "Why blue, and not violet?": Chapter(
        {
            "The spectrum of the sun": (
                "The sun gives less light at the violet end than in the blue, and the upper air absorbs part of "
                "the ultraviolet and the violet before they get down to us."
            ),
            "How the eye sees colour": (
                "Three kinds of cones see colour. Violet stirs the short-wave cones only weakly, and a mix of "
                "blue and violet light with some of everything else looks like a pale blue."
            ),
        },
        "Violet is scattered even more than blue, but there is less of it in sunlight, some of it is absorbed "
        "high up, and our eyes answer to it weakly. What remains looks blue to us.",
    ),
    "What changes when the sun is low?": Chapter(
        {
            "The path of light at sunset": (
                "At noon the light crosses the air by the shortest way. At the horizon it crosses some forty "
                "times as much air, so nearly all of the blue has been scattered away before it arrives."
            ),
            "Dust, smoke and red evenings": (
                "Fine dust and smoke scatter the short waves too and deepen the red. After great volcanic "
                "eruptions, sunsets were vivid for months all over the world."
            ),
        },
        "A low sun shines through dozens of times more air. The blue is lost to the side on that long way, and "
        "what comes straight to us is orange and red, more so with dust or smoke in the air.",
    ),
}
_SKY_ANSWER: Final = (
    "The sky is blue because air scatters short waves of light far more than long ones: blue sunlight reaches "
    "us from all directions, red light mostly straight from the sun. Violet is scattered even more, but there "
    "is less of it and our eyes hardly see it. At sunset the light crosses dozens of times more air. Nearly all "
    "of the blue is scattered away before it gets to us, and the reds remain."
)

_ANY: Final = {
    "What is known about it?": Chapter(
        {
            "An overview": "A scripted model cannot read about your question. A real one would note the facts here.",
            "A textbook chapter": "This reader works at the same time as all the others, whichever page comes first.",
        },
        "This section began when the notes on both of its pages were complete, and not when everybody was done.",
    ),
    "What speaks for it, what against?": Chapter(
        {
            "An argument for": "Each of these streams is read twice: by the writer who needs it, and by this lane.",
            "An argument against": "The name of this page was still being written when the other reader had begun.",
        },
        "The writer of this section was called before the notes were complete: it was handed streams that were "
        "still growing.",
    ),
    "What is still open?": Chapter(
        {
            "Open problems": "No agent here starts a task, takes a lock or fills a queue. They call and they reply.",
            "A recent survey": "If this reader failed, its error would reach the one who reads it, and nobody else.",
        },
        "All three sections are written side by side; the editor is sent them in the order of the plan.",
    ),
}
_ANY_ANSWER: Final = (
    "You asked: {question}\n\nThe models of this demo follow a script, so they do not know. What you have seen "
    "is real, though: agents that call each other, run at once, and pass on their words while they are being "
    "made. Put real models in their places and the same few lines of code will research your question."
)


def scripted_crew(question: str, speed: float = 1.0) -> Crew:
    """Models that follow the script for this question. `speed` makes them faster than a usual LLM, or slower."""
    if question == DEFAULT_QUESTION:
        chapters, answer = _SKY, _SKY_ANSWER
    else:
        chapters, answer = _ANY, _ANY_ANSWER.replace("{question}", question)
    notes = {page: note for chapter in chapters.values() for page, note in chapter.notes.items()}

    def model(name: str, wait: float, rate: float, script: Callable[[tuple[Message, ...]], str]) -> Any:
        return scripted_agent.fork(
            alias=name,
            script=script,
            time_to_first_token=wait / speed,
            tokens_per_second=rate * speed,
            jitter=0.4,
            seed=name,
        )

    return Crew(
        planner=model("planner", 0.4, 26, lambda _: "\n".join(chapters)),
        searcher=model("searcher", 0.3, 18, lambda sent: "\n".join(chapters[str(sent[0])].notes)),
        reader=model("reader", 0.4, 26, lambda sent: notes[str(sent[0])]),
        writer=model("writer", 0.4, 30, lambda sent: chapters[str(sent[0])].section),
        editor=model("editor", 0.5, 36, lambda _: answer),
    )
