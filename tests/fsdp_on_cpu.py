"""`dsi` under FSDP on CPU processes: accelerate offers FSDP on GPUs only, so its state is told otherwise."""

import os
import sys
from typing import Any

os.environ |= {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "T5Block",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
}

from accelerate import state
from accelerate.utils import DistributedType

from dsi.cli import main

of_gpus = state.AcceleratorState.__init__


def of_cpus(self: Any, *arguments: Any, fsdp_plugin: Any = None, **options: Any) -> None:
    of_gpus(self, *arguments, fsdp_plugin=fsdp_plugin, **options)
    if fsdp_plugin is not None:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin


state.AcceleratorState.__init__ = of_cpus
sys.exit(main(sys.argv[1:]))
