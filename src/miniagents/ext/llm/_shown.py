"""How large fields of messages are shown."""


class Shown(str):
    """Shown without quotation marks, in the place of what is too large to be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
