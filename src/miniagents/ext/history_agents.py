"""A door to the chat histories."""

from miniagents.ext.chat_history import ChatHistory, InMemoryChatHistory
from miniagents.ext.chat_history_md import ChatHistoryMD

__all__ = ["ChatHistory", "ChatHistoryMD", "InMemoryChatHistory"]
