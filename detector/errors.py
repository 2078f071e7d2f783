"""The one exception whose message is meant for the user.

Raised anywhere in ``detector``; the command line prints the message on one line of stderr and exits
with code 2, without a traceback.
"""

# What it raises to read a tree of values that anybody may have written as if it were our own:
# a part is missing, is of another type, or is nested too deeply.
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class UserError(Exception):
    """A mistake the user can mend: the message names the file and the way out."""

    @property
    def lines(self) -> list[str]:
        """The message as it is printed: one line, whatever the names in it hold."""
        return [str(self)]
