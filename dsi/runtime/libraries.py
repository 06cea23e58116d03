"""What other libraries are told before they are imported, so that they print little and spin less."""

import os

SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "OMP_WAIT_POLICY": "PASSIVE",  # idle threads that spin slow a busy machine 1.6 to 3 times
}


def settle_libraries() -> None:
    """Set these variables of the environment where the user has not; those of a library that is imported already come
    too late, and do nothing."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ["MPLBACKEND"] = "agg"  # plots are files, whatever a notebook or a desktop says
