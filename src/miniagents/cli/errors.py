"""What a user of the command line can get wrong."""

from miniagents.promising.errors import MiniAgentsError


class UserError(MiniAgentsError, ValueError):
    """A mistake of the user, or of their surroundings: told in one line, exit status 2."""
