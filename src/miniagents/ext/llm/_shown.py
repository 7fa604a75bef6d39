"""How large fields of messages, and errors about types, are shown."""


class Shown(str):
    """Shown without quotation marks, in the place of what is too large to be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def first_line(error: BaseException) -> str:
    """What an error about a type says, without pydantic's advice, which is for models and not for what we make."""
    line = str(error).partition("\n")[0].partition(" Set `arbitrary_types_allowed")[0]
    return line if line.endswith(".") else f"{line}."
