"""How pytest-benchmark runs the benchmarks, what it saves, and the report at the end."""

from pathlib import Path

import figure
import pytest
import report
import torch
from harness import CORES, NO_GPU, keep_memory

RESULT = Path(__file__).with_name("bench.json")
MEASURED = pytest.StashKey()
REASONS = ("out of memory", "No available kernel", "No viable backend")  # to skip


def pytest_configure(config):
    """`pytest bench` saves bench.json. With its options pytest-benchmark prints its table."""
    if not config.getoption("benchmark_disable"):
        keep_memory()
        config.option.benchmark_json = config.option.benchmark_json or RESULT
        options = str(config.invocation_params.args).replace("--benchmark-json", "")
        config.option.benchmark_quiet = "--benchmark-" not in options


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skips what a device has too little memory or no kernel for."""
    torch.manual_seed(0)
    try:
        return (yield)
    except RuntimeError as error:
        if not any(words in str(error) for words in REASONS):
            raise
        pytest.skip(str(error).splitlines()[0])


def pytest_benchmark_update_machine_info(machine_info):
    versions = f"Python {machine_info['python_version']}, torch {torch.__version__}"
    cpu = f"{machine_info['cpu'].get('brand_raw', 'CPU')}, {versions}"
    gpu = f"not measured, {NO_GPU}"
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        gpu = f"{torch.cuda.get_device_name() if kind == 'cuda' else kind}, {versions}"
    cpus = {"cpu": f"{cpu}, one thread", "cores": f"{cpu}, all cores: {CORES} threads"}
    machine_info["devices"] = cpus | {"gpu": gpu}
    machine_info["memory_kept"] = keep_memory()
    machine_info["node"] = ""  # a name says nothing about speed


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
