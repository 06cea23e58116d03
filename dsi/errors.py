"""The one exception for faults that the user can mend: bad input, bad configuration, a stage that is not built yet."""


class DsiError(Exception):
    """A fault in what the user gives. The message names the file, line or key and says what to do.

    The command line prints it on one line and exits with status 2; any other exception is a bug and keeps its
    traceback.
    """


def first_line(error: Exception) -> str:
    """The first line of an error's message, the useful one of Hugging Face's.

    >>> first_line(OSError("There is no such model.\\nMake sure that ...")), first_line(KeyError())
    ('There is no such model.', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
