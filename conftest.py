"""The tests train on the CPU, as the READMEs do, also where there is an accelerator."""

import torch

ACCELERATOR = torch.accelerator.current_accelerator
# The models ask for one that is available; the benchmarks and test_devices.py do not.
torch.accelerator.current_accelerator = lambda check_available=False: (
    None if check_available else ACCELERATOR()
)
