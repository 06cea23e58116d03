"""The one exception for faults that the user can mend: bad input, bad configuration, a stage that is not built yet."""


class DsiError(Exception):
    """One or several faults in what the user gives. Each names the file, line or key and says what to do.

    The command line prints each on one line and exits with status 2; any other exception is a bug and keeps its
    traceback.
    """

    def __init__(self, *faults: str) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "; ".join(self.faults)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, the useful one of Hugging Face's.

    >>> first_line(OSError("There is no such model.\\nMake sure that ...")), first_line(KeyError())
    ('There is no such model.', 'KeyError')
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
