"""The messages of a dialog with a model: what each side says, thinks, calls and gets back."""

from typing import TYPE_CHECKING, Any

from miniagents.messages import Message

__all__ = [
    "Approval",
    "ApprovalRequest",
    "AssistantMessage",
    "SystemMessage",
    "ThinkingMessage",
    "ToolCallMessage",
    "ToolResultMessage",
    "UserMessage",
]

# Type checkers believe that a pydantic model takes its declared fields, by keyword, and nothing else. A message takes
# its text by position and any metadata, so each class says so to them.


class UserMessage(Message):
    """A message of the user."""

    role: str = "user"

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class SystemMessage(Message):
    """A part of the system prompt."""

    role: str = "system"

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class AssistantMessage(Message):
    """What a model has answered."""

    role: str = "assistant"

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class ThinkingMessage(Message):
    """What a model has thought before it answered, as far as it tells. The text is empty if all of it is secret."""

    is_answer = False

    role: str = "thinking"
    signature: str | None = None
    """What the provider wants to be sent back with it, to know it again."""
    signed_by: str | None = None
    """The provider that has signed it, or wants it back as it is; no other is sent it."""
    redacted: bool = False
    """Whether the thought itself is only in the signature, where nobody but the provider can read it."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class ToolCallMessage(Message):
    """A model calls a tool. The text is the arguments, a JSON object, which streams as the model writes it."""

    is_answer = False

    role: str = "tool_call"
    call_id: str = ""
    """Which result belongs to it."""
    tool: str = ""
    """The name of the tool."""
    signature: str | None = None
    """What the provider wants to be sent back with it."""
    signed_by: str | None = None
    """The provider that has signed it; no other is sent the signature."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class ToolResultMessage(Message):
    """What a tool has given to the model. The text streams if the tool's does."""

    is_answer = False

    role: str = "tool"
    call_id: str = ""
    """The call that it belongs to."""
    tool: str = ""
    """The name of the tool."""
    is_error: bool = False
    """Whether the tool has failed, was refused, or was not there; then the text says why."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class ApprovalRequest(Message):
    """Whether a tool may be called, asked of whoever approves. The text is the question, for people."""

    role: str = "assistant"
    tool: str = ""
    """The name of the tool."""
    arguments: str = ""
    """What it would be called with, a JSON object."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...


class Approval(Message):
    """The answer to an `ApprovalRequest`. The text is for the model, if it is refused."""

    role: str = "user"
    approved: bool = False
    """Whether the tool may be called, this once."""

    if TYPE_CHECKING:

        def __init__(self, text: str | None = None, /, **metadata: Any) -> None: ...
