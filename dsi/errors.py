"""The one exception for faults the user can mend: bad input, bad configuration, a stage that is not built yet."""


class DsiError(Exception):
    """A fault in what we were given. The message names the file, line or key and says what to do.

    The command line prints it on one line and exits with status 2; anything else that escapes is a bug and keeps
    its traceback.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message, which for Hugging Face errors is the useful one."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
