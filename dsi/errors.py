"""The one exception for faults the user can mend: bad input, bad configuration, a stage that is not built yet."""


class DsiError(Exception):
    """A fault in what we were given. The message names the file, line or key and says what to do.

    The command line prints it on one line and exits with status 2; anything else that escapes is a bug and keeps
    its traceback.
    """
