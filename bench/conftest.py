"""Options of the benchmarks, how pytest-benchmark times them, and the report at the end."""

import contextlib
import ctypes
import os
import platform
from pathlib import Path

import picture
import pytest
import report
import torch
from harness import DeviceAudit, check_options, now, why_not

HERE = Path(__file__).parent
RESULT = pytest.StashKey()


def pytest_addoption(parser):
    group = parser.getgroup("bench", "benchmarks")
    group.addoption("--device", help="cpu or cuda: measure there only (default: where possible)")
    group.addoption("--threads", default="1", help="threads of PyTorch on the CPU (default: 1)")


def pytest_configure(config):
    try:
        check_options(config.getoption("--device", None), config.getoption("--threads", "1"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if not is_timing(config):
        return
    if not any(option.startswith("--benchmark") for option in config.invocation_params.args):
        config.option.benchmark_quiet = True  # our report instead of pytest-benchmark's table
    config.option.benchmark_json = config.option.benchmark_json or HERE / "bench.json"
    folder = config.option.benchmark_json.parent
    if not os.access(folder, os.W_OK):
        raise pytest.UsageError(f"the results cannot be written to {folder}.")


def is_timing(config):
    return config.getoption("benchmark_enable") or not config.getoption("benchmark_disable")


def pytest_collection_modifyitems(config, items):
    wanted = config.getoption("--device", None)
    clock = pytest.mark.benchmark(
        timer=now, min_time=1e-3, max_time=0.3, min_rounds=5, precision=0.02, disable_gc=True
    )
    for item in [item for item in items if item.path.name.startswith("bench_")]:
        device = item.callspec.params["device"]
        item.add_marker(clock)
        if wanted and device != wanted:
            item.add_marker(pytest.mark.skip(reason=f"--device {wanted} leaves {device} out"))
        elif why_not(device):
            item.add_marker(pytest.mark.skip(reason=f"no {device} rows: {why_not(device)}"))


@pytest.fixture(autouse=True)
def same_conditions(request):
    """One seed, the chosen number of threads, float32 products in full precision. A plain test
    run does not time and checks instead that every tensor names its device."""
    threads = torch.get_num_threads()
    torch.set_num_threads(int(request.config.getoption("--threads", "1")))
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(0)
    with contextlib.nullcontext() if is_timing(request.config) else DeviceAudit():
        yield
    torch.set_num_threads(threads)


def pytest_sessionstart(session):
    """Lets glibc keep freed memory: returned to the system, every large result is paid for again
    in page faults, and time is lost where no operation is slow. Other systems are left alone."""
    if is_timing(session.config):
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL("libc.so.6")
            libc.mallopt(-4, 0)  # M_MMAP_MAX: no block is mapped on its own
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: the heap does not shrink


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """A row that does not fit the memory of a small GPU is left out, not an error."""
    try:
        return (yield)
    except torch.OutOfMemoryError:
        pytest.skip("not enough memory on the device")


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["node"] = ""  # a name says nothing about speed
    machine_info["torch"] = torch.__version__
    machine_info["threads"] = config.getoption("--threads", "1")
    machine_info["cores"] = os.cpu_count()
    machine_info["no_gpu"] = why_not("cuda")
    machine_info["gpu"] = None if why_not("cuda") else torch.cuda.get_device_name()
    machine_info["cpu_name"] = machine_info["cpu"].get("brand_raw") or platform.processor()


def pytest_benchmark_update_json(config, output_json):
    if config.option.benchmark_json == HERE / "bench.json":
        for row in output_json["benchmarks"]:
            row["stats"].pop("data", None)  # every single round: only for who asks for a file
    config.stash[RESULT] = output_json


def pytest_terminal_summary(terminalreporter, config):
    if RESULT in config.stash:
        path = config.option.benchmark_json
        path = Path(min(str(path), os.path.relpath(path), key=len))
        series = report.labelled(report.series_of(config.stash[RESULT], path))
        terminalreporter.write_line("\n" + report.text(series))
        picture.draw(series, path.with_suffix(".png"))
        terminalreporter.write_line(f"\nresults: {path}, picture: {path.with_suffix('.png')}\n")
