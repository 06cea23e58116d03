"""One thread for work that is too small to share.

OpenMP's threads wait for each other after every operation of the model, by default without giving up their processors.
On a busy machine such a wait lasts until the others are given a processor again, which is much longer than small work.
"""

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch

SMALL = 6e7
"""FLOPs of a batch below which it is computed with one thread. Two on an idle machine are as fast for 26 million, 10 %
faster for 52 and 20 % for 104 (`make bench-latency`). A query of 32 tokens to the default index takes 53 million."""


def threads_for(flops: float) -> AbstractContextManager[None]:
    """Let torch compute small work with one thread, other work with those that it has."""
    return one_thread() if flops < SMALL else nullcontext()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread on the CPU, in the calling thread alone, until the block is left.

    `torch.set_num_threads` would change the number for the whole process, in which others may compute. Without OpenMP,
    or where its functions are not found, nothing changes.
    """
    set_openmp, set_mkl = _setters()
    before = torch.get_num_threads()  # of this thread, which it also initialises
    set_openmp(1)
    mkl_before = set_mkl(1)
    try:
        yield
    finally:
        set_openmp(before)
        set_mkl(mkl_before)


@cache
def _setters() -> list[Any]:
    """The functions of OpenMP and of MKL, in the libraries that torch is linked with, for the threads of a thread."""
    library = ctypes.CDLL(torch._C.__file__)
    names = ("omp_set_num_threads", "MKL_Set_Num_Threads_Local")
    return [getattr(library, name, lambda number: number) for name in names]
