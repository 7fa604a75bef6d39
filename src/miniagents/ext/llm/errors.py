"""What can go wrong between an agent and a model.

```
LLMError                                   the base; `partial_text` is what was streamed before
├── LLMConnectionError (ConnectionError)   the server cannot be reached, or the connection broke
├── LLMTruncatedError (ConnectionError)    the answer ended in good order, but a part of it is missing
├── LLMTimeoutError (TimeoutError)         the model was silent for too long
├── LLMStatusError (RuntimeError)          the provider answered with an error, at once or in mid-answer
├── LLMProtocolError (ValueError)          what arrived is not what the API promises
├── LLMEmptyCompletionError (ValueError)   a complete answer with nothing in it
├── LLMAnswerError (ValueError)            a complete answer that is not what was asked for
├── LLMRequestError (ValueError)           the request cannot be made
│   ├── LLMParameterError (TypeError)      the API function does not take an argument
│   └── LLMOfflineError                    real requests are forbidden here
├── LLMTurnLimitError (RuntimeError)       the model has called tools in all of its `max_turns`
├── LLMRecordingError (ValueError)         a recording has no answer to the request, or is none that can be used
├── MissingKeyError (LookupError)          no API key
└── MissingExtraError (ImportError)        the provider's package is not installed
```

`ToolError` and `ToolSourceError` are of another kind: a tool raises the first, and the model is told what it says; the
second is raised if it cannot be told what tools there are.

They are raised where the answer is read, at their place among its tokens. What the SDK has raised is their `__cause__`,
unless it repeats a key or is not safe for a terminal; in their own texts keys are replaced by `<secret>`.
"""

from miniagents.ext._terminal import terminal_text
from miniagents.promising.errors import MiniAgentsError


class LLMError(MiniAgentsError):
    """Something went wrong between an agent and a model. Most errors have a class of their own below this one.

    The message may repeat what a server has said, made safe to be shown on a terminal.
    """

    def __init__(self, message: str, *, partial_text: str = "") -> None:
        # Most messages begin with the name of a provider, which may be "the OpenAI-compatible server".
        super().__init__(terminal_text(message[:1].upper() + message[1:]))
        self.partial_text = partial_text
        """What of the answer was there before; the same tokens stay readable in the reply."""


class LLMConnectionError(LLMError, ConnectionError):
    """The server cannot be reached, or the connection broke. The SDK has retried, unless the answer had begun."""


class LLMTruncatedError(LLMError, ConnectionError):
    """The connection ended in good order, but the answer had neither an end marker nor a finish reason.

    Not an `EOFError`, which elsewhere in this library means that a user has ended a dialog.
    """


class LLMTimeoutError(LLMError, TimeoutError):
    """The model was silent for longer than `max_silence` allows, or the client gave up for a reason of its own."""


class LLMStatusError(LLMError, RuntimeError):
    """The provider answered with an error instead of a text, or in the midst of one."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 200,
        error_type: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        partial_text: str = "",
    ) -> None:
        super().__init__(message, partial_text=partial_text)
        self.status = status
        """The HTTP status; 200 for an error in the midst of an answer."""
        self.error_type = error_type
        """The provider's own name for the kind of error, such as `overloaded_error`."""
        self.request_id = request_id
        """What the provider's support asks for."""
        self.retry_after = retry_after
        """Seconds after which the provider wants to be asked again, if it said so."""


class LLMProtocolError(LLMError, ValueError):
    """What arrived is not what the API promises, such as broken JSON."""


class LLMEmptyCompletionError(LLMError, ValueError):
    """The answer is complete and has neither text nor tool calls."""


class LLMAnswerError(LLMError, ValueError):
    """The answer is complete, but it is not of the `response_type` that was asked for."""


class LLMRequestError(LLMError, ValueError):
    """The request cannot be made as it was asked for."""


class LLMParameterError(LLMRequestError, TypeError):
    """An argument that the function of the API does not take, or not with that value."""


class LLMTurnLimitError(LLMError, RuntimeError):
    """The model has called tools in each of its `max_turns` answers, also in the last one."""


class ToolError(MiniAgentsError, RuntimeError):
    """A tool has no result. Raise it in a tool: the model is told the message, as it is, and may do better.

    Of any other exception it is told the class too.
    """


class ToolSourceError(MiniAgentsError, ConnectionError):
    """What tools there are cannot be known, because their server cannot be asked. Nothing was sent to the model."""

    def __init__(self, message: str) -> None:
        super().__init__(terminal_text(message))


class LLMOfflineError(LLMRequestError):
    """Requests that leave this machine are forbidden; see `miniagents.ext.llm.recordings.no_real_requests`."""


class LLMRecordingError(LLMError, ValueError):
    """A recording has no answer to the request, or is none that can be used; see `miniagents.ext.llm.recordings`."""


class MissingKeyError(LLMError, LookupError):
    """There is no API key for the provider."""

    def __init__(self, provider: str, key_variable: str) -> None:
        # The arguments, not the text, are what `copy` and `pickle` make an exception of.
        super().__init__(provider)
        self.args = (provider, key_variable)
        self.key_variable = key_variable

    def __str__(self) -> str:
        provider, key_variable = self.args
        return (
            f"There is no key for {provider}. Set the environment variable {key_variable}, or pass `api_key=...`, or "
            "a client of your own as `async_client=...`. To run without a key, use a model on your own machine: "
            "`openai_compatible_agent` of `miniagents.ext.llm.openai_compatible`, with the `base_url` of Ollama, vLLM, "
            "LM Studio or the like; or no model at all: `eliza_agent` or `echo_agent` of `miniagents.ext.models`."
        )


class MissingExtraError(LLMError, ImportError):
    """The package of the provider is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package)
        self.args = (package, extra)
        self.name = package

    def __str__(self) -> str:
        package, extra = self.args
        return f"The package `{package}` is not installed, or cannot be imported: {how_to_install(extra)}"


def how_to_install(extra: str) -> str:
    """The command that installs an extra of this library. On the package index its name is still another project's."""
    return f'pip install "/path/to/miniagents[{extra}]", with the path of your clone'
