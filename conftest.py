"""The tests train on the CPU, as the READMEs do, also where there is an accelerator, and draw
without a window. Each begins with the same random numbers."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

ACCELERATOR = torch.accelerator.current_accelerator
# The models ask for one that is available; the benchmarks and test_devices.py do not.
torch.accelerator.current_accelerator = lambda check_available=False: (
    None if check_available else ACCELERATOR()
)
matplotlib.use("agg")


@pytest.fixture(autouse=True)
def each_test_by_itself():
    torch.manual_seed(0)
    yield
    plt.close("all")
