"""The errors of the LLM agents."""

import copy
import pickle
from typing import Any

import pytest

from miniagents.ext.llm import errors
from miniagents.ext.llm.errors import LLMError, LLMStatusError, MissingExtraError, MissingKeyError
from miniagents.promising import MiniAgentsError

PLAIN = [name for name in dir(errors) if name.startswith("LLM") and name != "LLMStatusError"]
ERRORS = [
    *(getattr(errors, name)("text", partial_text="so far") for name in PLAIN),
    LLMStatusError("text", status=503, error_type="busy", request_id="r", retry_after=1.5, partial_text="so far"),
    MissingKeyError("OpenAI", "OPENAI_API_KEY"),
    MissingExtraError("openai", "openai"),
]


def name_of(error: LLMError) -> str:
    return type(error).__name__


@pytest.mark.parametrize("error", ERRORS, ids=name_of)
@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"])
def test_an_error_can_be_copied(error: LLMError, copied: Any) -> None:
    """Copies of an error, also in another process, say and know the same."""
    twin = copied(error)
    assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", ERRORS, ids=name_of)
def test_an_error_has_the_librarys_base(error: LLMError) -> None:
    """Whoever catches the errors of the library catches these."""
    assert isinstance(error, MiniAgentsError)
