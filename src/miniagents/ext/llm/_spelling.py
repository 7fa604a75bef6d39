"""Arguments that are nearly one of an agent's own, among those that it would pass on unseen."""

import functools
import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any, Final

from miniagents.ext.llm.errors import LLMParameterError

# What an API has beside one of ours, and is near to it.
_NOT_MISSPELT: Final = frozenset({"models", "speed"})


def check_spelling(parameters: Iterable[str], *functions: Callable[..., Any]) -> None:
    """Raise `LLMParameterError` for a parameter that is no argument of the `functions`, but nearly one of them."""
    for name in parameters:
        meant = _meant_by(name, functions)
        if meant:
            raise LLMParameterError(
                f"There is no argument `{name}`: did you mean `{meant}`? "
                "A parameter of the API with that name goes through in `extra_body={...}`."
            )


@functools.lru_cache(maxsize=1024)  # to compare takes as long as many a call of an offline model
def _meant_by(name: str, functions: tuple[Callable[..., Any], ...]) -> str | None:
    own = {
        _plain(parameter.name): parameter.name
        for function in functions
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if name in _NOT_MISSPELT or name in own.values():
        return None
    near = get_close_matches(_plain(name), own, 1, 0.8)
    return own[near[0]] if near else None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
