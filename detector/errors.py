"""The one exception whose message is meant for the user.

Raised anywhere in ``detector``; the command line prints the message on one line of stderr and exits
with code 2, without a traceback.
"""


class UserError(Exception):
    """A mistake the user can mend: the message names the file and the way out."""
