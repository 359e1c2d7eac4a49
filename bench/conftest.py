"""How pytest-benchmark runs the benchmarks, what it saves, and the report at the end."""

import re
import shutil
import subprocess
import traceback
from pathlib import Path

import figure
import pytest
import report
import torch
from harness import CORES, GLIBC, NO_GPU, keep_memory

HERE = Path(__file__).parent
MEASURED = pytest.StashKey()
# What a row is skipped for, the whole message of the error; running out of memory is the other one.
NO_KERNEL = (
    "No available kernel. Aborting execution.",
    "No viable backend for scaled_dot_product_attention was found. This is likely due to turning "
    "off both the math kernel and the fused kernels.",
)


def pytest_configure(config):
    """`pytest bench` times. Plain `pytest` runs every benchmark once, as a test."""
    asked = [Path(argument.partition("::")[0]).resolve() for argument in config.args]
    times = "--benchmark-disable" not in config.invocation_params.args
    files = [HERE, *HERE.glob("bench_*.py")]
    if times and all(path in files for path in asked):
        config.option.benchmark_enable = True
        config.option.benchmark_json = config.option.benchmark_json or HERE / "bench.json"
        config.option.benchmark_quiet = True  # instead of its table, ours
        keep_memory()


def why_skip(error):
    """The reason, if the device has too little memory or no kernel for a row."""
    message = " ".join(str(error).split())
    mps = message.startswith("MPS backend out of memory (")
    if isinstance(error, torch.OutOfMemoryError) or mps:
        return "out of memory"
    return message if message in NO_KERNEL else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    torch.manual_seed(0)
    try:
        return (yield)
    except RuntimeError as error:
        reason = why_skip(error)
        if reason is None:
            raise
        traceback.clear_frames(error.__traceback__)  # they hold the tensors of the row
        if torch.accelerator.is_available():
            torch.accelerator.empty_cache()
        pytest.skip(reason)
    finally:
        torch.set_num_threads(CORES)


def pytest_benchmark_update_machine_info(machine_info):
    versions = f"Python {machine_info['python_version']}, torch {torch.__version__}"
    cpu = f"{machine_info['cpu'].get('brand_raw', 'CPU')}, {versions}"
    gpu = f"not measured, {NO_GPU}"
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        gpu = f"{torch.cuda.get_device_name() if kind == 'cuda' else kind}, {versions}"
    machine_info["devices"] = {"cpu": f"{cpu}, one thread", "cores": f"{cpu}, {CORES} threads"}
    machine_info["devices"]["gpu"] = gpu
    machine_info["blas"] = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())[1]
    machine_info["gpus"] = gpus()
    machine_info["memory_kept"] = GLIBC
    machine_info["node"] = ""  # a name says nothing about speed


def gpus():
    """Name, driver, clocks and power limit of each NVIDIA card, as nvidia-smi says."""
    program, fields = shutil.which("nvidia-smi"), "name,driver_version,clocks.sm,clocks.max.sm,"
    if program is None:
        return []
    command = [program, "--format=csv", f"--query-gpu={fields}power.limit"]
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()


def pytest_benchmark_update_json(config, output_json):
    for row in output_json["benchmarks"]:
        row["stats"].pop("data", None)  # every single round
    config.stash[MEASURED] = True


def pytest_terminal_summary(terminalreporter, config):
    if MEASURED in config.stash:
        path = Path(config.option.benchmark_json)
        results = report.read(path)
        terminalreporter.write_line("\n" + report.text(*results))
        figure.draw(*results, path.with_suffix(".png"))
        terminalreporter.write_line(f"\nresults: {path}, figure: {path.with_suffix('.png')}")
