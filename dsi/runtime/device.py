"""The device on which a model computes, its precision and its speed."""

import time

import torch

from dsi.errors import DsiError
from dsi.runtime.processes import local_process_index


def compute_device() -> torch.device:
    """This process's own GPU, that of a Mac (MPS), or the CPU. Works without a process group, which not all processes
    may join.

    Raises:
        DsiError: the machine has no GPU of that number.
    """
    if not torch.cuda.is_available():
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    number, gpus = local_process_index(), torch.cuda.device_count()
    if not 0 <= number < gpus:
        raise DsiError(f"LOCAL_RANK={number}: there are {gpus} GPUs; start as many processes, or `unset LOCAL_RANK`")
    return torch.device("cuda", number)


def search_device() -> torch.device:
    """The device on which an index is searched: that of `compute_device`, but the CPU in place of MPS, which has no
    float64, in which totals are computed (`dsi.search.prior.Mixture`)."""
    device = compute_device()
    return torch.device("cpu") if device.type == "mps" else device


def is_bfloat16(precision: str, key: str) -> bool:
    """Whether `precision` (auto, float32 or bfloat16) means bfloat16 on this machine; auto does where CUDA has it, and
    never on MPS.

    Raises:
        DsiError: bfloat16 is asked of a GPU without it; the message names `key`, the configuration's key.
    """
    has_gpu = torch.cuda.is_available()
    has_bfloat16 = has_gpu and torch.cuda.is_bf16_supported()
    if precision == "bfloat16" and has_gpu and not has_bfloat16:
        raise DsiError(f"{key}=bfloat16: this GPU has no bfloat16; use float32")
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16)


def multiplication_speed(device: torch.device, seconds: float = 0.2) -> float:
    """The FLOPs per second of float32 products of matrices of a batch's size on `device`, measured for `seconds`."""
    one, other = torch.randn(1024, 2048, device=device), torch.randn(2048, 2048, device=device)
    float((one @ other)[0, 0])
    start, products = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        for _ in range(4):
            product = one @ other
        float(product[0, 0])  # waits for a GPU
        products += 4
    return products * 2.0 * one.shape[0] * one.shape[1] * other.shape[1] / (time.perf_counter() - start)


def fast_bfloat16(device: torch.device) -> torch.autocast:
    """A context in which products are computed in bfloat16 where the hardware has it (GPUs since Ampere, CPUs with
    AVX512-BF16 or AMX), the rest in float32: a small sentence encoder is 2.8 times as fast, its vectors are the same to
    2e-3."""
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        has_bfloat16 = device.type == "cpu" and has_instructions
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16)
