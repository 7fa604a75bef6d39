"""What can go wrong with an answer of `LLMServer`."""

from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal[
    "status",
    "close_before_headers",
    "hang_before_headers",
    "cut",
    "reset",
    "clean_eof",
    "silence",
    "comments_only",
    "error_event",
    "malformed_json",
    "missing_role",
    "null_content",
    "empty_choices_first",
    "no_content",
    "finish_length",
    "finish_content_filter",
    "crlf_and_comments",
    "split_bytes",
    "interleaved_tool_calls",
]
"""The names of the faults; `Fault` tells what each one does."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with an answer.

    | kind | what the client sees |
    |---|---|
    | `status` | an error answer with `status` (and `Retry-After: retry_after`) in the provider's own shape |
    | `close_before_headers` | the connection is closed, nothing was answered |
    | `hang_before_headers` | nothing, until the client gives up |
    | `cut` | the connection is closed inside the body |
    | `reset` | the connection is reset (TCP RST) inside the body |
    | `clean_eof` | the body ends in good order, but before what marks the end of the answer |
    | `silence` | the body goes on no further, until the client gives up |
    | `comments_only` | likewise, but SSE comments keep coming |
    | `error_event` | an error of the provider inside the stream; if not streamed: an error body with status 200 |
    | `malformed_json` | one event that is broken JSON, then the rest; if not streamed: broken JSON |
    | `missing_role` | a message without `role` |
    | `null_content` | one delta with nothing in it (chat: `null`, else empty); not streamed: `null` (OpenAI only) |
    | `empty_choices_first` | a chunk without choices first (Anthropic: a ping, responses: `queued`); whole: no choice |
    | `no_content` | a complete answer with nothing in it |
    | `finish_length`, `finish_content_filter` | a complete answer that gives this as the reason why it ended |
    | `crlf_and_comments` | nothing is wrong: CRLF line ends, and comments between the events |
    | `split_bytes` | nothing is wrong: every byte of the body comes by itself |
    | `interleaved_tool_calls` | nothing is wrong: pieces of calls that follow each other come in turns (OpenAI only) |

    They concern every endpoint that streams. Embeddings, which come in one piece, know those from `status` to
    `malformed_json`, `no_content` and `split_bytes`, and are ordinary with the others.

    What ends a stream is `[DONE]` for chat completions, `message_stop` for Anthropic, and for responses
    `response.completed` or `response.incomplete`. An error in a stream of responses is an event `error` and then
    `response.failed`.

    Args:
        kind: One of the names above.
        at_token: After how many pieces of text, thinking and arguments it happens (or after all, if there are fewer),
            for the kinds from `cut` to `malformed_json` and `null_content`. What stands between the pieces, such as the
            name of the tool, has been sent by then. A body that is not streamed breaks in its middle instead.
        times: To how many requests it happens, the first ones; to all of them if not given.
        status: For `status`, from 400 to 599.
        retry_after: For `status`, seconds.

    Raises:
        ValueError: An unknown kind, or a number out of range.
    """

    kind: FaultKind
    at_token: int = 1
    times: int | None = None
    status: int = 500
    retry_after: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"There is no fault {self.kind!r}; choose one of {', '.join(get_args(FaultKind))}.")
        if self.at_token < 0:
            raise ValueError(f"`at_token` counts tokens and cannot be {self.at_token}.")
        if not 400 <= self.status <= 599:
            raise ValueError(f"`status` must be an error status from 400 to 599, not {self.status}.")
