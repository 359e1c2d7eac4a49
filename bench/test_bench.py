"""What must hold whatever the clock says: counts, views, the check, the clock, CUDA, the report."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import bench_contiguity
import bench_einsum
import harness
import pytest
import report
import torch
from bench_attention import fused, loop_over_heads, loop_over_queries, matrices
from torch._subclasses.fake_tensor import FakeTensorMode

HERE = Path(__file__).parent
EXAMPLE = HERE / "example.json"
BROADCASTING = [bench_contiguity.broadcast, bench_contiguity.expanded, bench_contiguity.repeated]


# %% counts
@pytest.mark.parametrize("E", [16, 33])
def test_matmul_does_e_times_the_work(E):
    A, B = bench_einsum.word_vectors(E, 7, "cpu")
    wasteful = harness.count(bench_einsum.matmul_diagonal, A, B)
    frugal = harness.count(bench_einsum.einsum, A, B)
    assert frugal["matrix_flops"] == 2 * E * 7
    assert wasteful["matrix_flops"] == E * frugal["matrix_flops"]
    assert (wasteful["new_bytes"], frugal["new_bytes"]) == (4 * E * E, 4 * E)
    assert wasteful["bytes"] == frugal["bytes"] == 4 * (2 * E * 7 + E)


def test_attention_keeps_the_square_of_the_words():
    short, long = [[torch.randn(2, 3, T, 8, device="cpu") for _ in range(3)] for T in (32, 64)]
    assert harness.count(matrices, *short)["matrix_flops"] == 4 * 2 * 3 * 32**2 * 8
    assert harness.count(matrices, *long)["matrix_flops"] == 4 * 2 * 3 * 64**2 * 8
    squares = 3 * 4 * (2 * 3 * 64**2)  # the scores, the scaled scores and their softmax
    assert harness.count(matrices, *long)["new_bytes"] == squares + 4 * long[0].numel()
    memory = [harness.count(fused, *inputs)["new_bytes"] for inputs in (short, long)]
    assert memory[1] == 2 * memory[0]


@pytest.mark.parametrize("line", bench_contiguity.VIEWS)
def test_views_take_no_memory(line):
    x = torch.randn(6, 6, device="cpu")
    assert harness.count(line, x)["new_bytes"] == 0
    assert line(x).data_ptr() == x.data_ptr()


def test_what_copies():
    x, row = torch.randn(6, 5, device="cpu"), torch.randn(5, device="cpu")
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.t().view(-1)
    assert harness.count(bench_contiguity.reshape_transposed, x)["new_bytes"] == 4 * 6 * 5
    assert x.contiguous() is x and x.t().contiguous().data_ptr() != x.data_ptr()
    memory = [harness.count(line, x, row)["new_bytes"] for line in BROADCASTING]
    assert memory == [4 * 6 * 5, 4 * 6 * 5, 2 * 4 * 6 * 5]


def test_scaling_keeps_the_softmax_alive():
    """q · k has variance d: without the division by √d, one word ends up with all the weight."""
    largest = {}
    for d in (4, 64, 1024):
        q, k = torch.randn(256, d, device="cpu"), torch.randn(256, d, device="cpu")
        for scale in (1, d**-0.5):
            largest[d, scale < 1] = (scale * q @ k.T).softmax(-1).amax(-1).mean().item()
    assert largest[4, False] < 0.4 and largest[1024, False] > 0.9
    assert all(0.03 < largest[d, True] < 0.12 for d in (4, 64, 1024))


# %% the check, the clock, the devices
def unscaled(q, k, v):
    return (q @ k.transpose(-2, -1)).softmax(-1) @ v


@pytest.mark.parametrize("variant, timed", [(matrices, True), (unscaled, False)])
@pytest.mark.parametrize("wrap", [lambda variant: variant, harness.with_gradients])
def test_a_wrong_variant_is_not_timed(variant, timed, wrap):
    calls = []

    def benchmark(*arguments):
        calls.append(arguments)

    benchmark.extra_info = {}
    inputs = [torch.randn(1, 2, 9, 8, device="cpu", requires_grad=True) for _ in range(3)]
    place = dict(reference=wrap(fused), topic="", size=9, against="")
    try:
        harness.measure(benchmark, wrap(variant), *inputs, **place)
    except AssertionError as error:
        assert "not close" in str(error)
    assert bool(calls) == timed == bool(benchmark.extra_info)


class PretendGPU:
    """Takes 1 µs to queue an operation and then 2 ms to do it, on a clock of its own."""

    time = ready = 0.0
    waits = 0

    def launch(self):
        self.time += 1e-6
        self.ready = max(self.ready, self.time) + 2e-3

    def synchronize(self):
        self.waits += 1
        self.time = max(self.time, self.ready)

    def perf_counter(self):
        return self.time


def test_the_clock_waits_for_the_gpu(monkeypatch):
    gpu = PretendGPU()
    monkeypatch.setattr(harness, "time", gpu)
    monkeypatch.setattr(torch.cuda, "synchronize", gpu.synchronize)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    begin = harness.now()
    assert gpu.waits == 1  # once for each reading
    for _ in range(10):
        gpu.launch()
    assert gpu.time - begin == pytest.approx(10e-6)  # what a clock that does not wait would say
    assert harness.now() - begin == pytest.approx(20e-3, rel=1e-3)
    assert gpu.waits == 2
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    harness.now()
    assert gpu.waits == 2  # nothing to wait for without a GPU


@pytest.mark.parametrize(
    "built, available, reason",
    [(False, False, "without CUDA"), (True, False, "finds no GPU"), (True, True, None)],
)
def test_reasons_to_skip(monkeypatch, built, available, reason):
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: built)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert harness.why_not("cpu") is None
    assert harness.why_not("cuda") is reason or reason in harness.why_not("cuda")
    if reason:
        with pytest.raises(ValueError, match=f"--device cuda cannot be measured.*{reason}"):
            harness.check_options("cuda", "1")


@pytest.mark.parametrize(
    "device, threads, words",
    [("tpu", "1", "cpu or cuda, not 'tpu'"), ("cpu", "0", "from 1, not '0'")]
    + [(None, text, "whole number from 1") for text in ("-1", "two", "1.5", "")],
)
def test_bad_options(device, threads, words):
    with pytest.raises(ValueError, match=words):
        harness.check_options(device, threads)


def test_audit_notices_a_tensor_without_device():
    with harness.DeviceAudit():
        torch.zeros(2, device="cpu")
        with pytest.raises(AssertionError, match="torch.zeros is called without device="):
            torch.zeros(2)


def test_everything_runs_on_a_pretended_cuda():
    """Forward on tensors without numbers: two devices in one operation are an error there. A slice
    needs a real GPU (`every_other_column`), and so do gradients."""
    with FakeTensorMode(), torch.no_grad():
        A, B = bench_einsum.word_vectors(8, 5, "cuda")
        q, k, v = [torch.randn(2, 3, 7, 4, device="cuda") for _ in range(3)]
        x, row = torch.randn(6, 6, device="cuda"), torch.randn(6, device="cuda")
        order = torch.randperm(6, device="cuda")
        results = [f(A, B) for f in [*bench_einsum.FAST, bench_einsum.python_loop]]
        results += [f(q, k, v) for f in (loop_over_queries, loop_over_heads, matrices, fused)]
        results += [f(q, k, v, causal=True) for f in (matrices, fused)]
        results += [f(x.t(), x, order) for f in bench_contiguity.LINES]
        results += [f(x) for f in bench_contiguity.VIEWS[:3]]
        results += [f(x, row) for f in BROADCASTING]
        assert {result.device.type for result in results} == {"cuda"}
        with pytest.raises(RuntimeError, match="found at least two devices"):
            bench_contiguity.two_layouts_meet(x, torch.randn(6, 6, device="cpu"), order)


# %% the report
@pytest.fixture
def with_gpu(tmp_path):
    """A made-up file of results from a machine with a GPU, ten times as fast as its CPU."""
    result = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    result["machine_info"] |= {"no_gpu": None, "gpu": "Pretend GPU", "cpu_name": "Other CPU"}
    for row in copy.deepcopy(result["benchmarks"]):
        row["extra_info"]["device"] = "cuda"
        row["stats"] = {name: row["stats"][name] / 10 for name in ("min", "median")}
        result["benchmarks"].append(row)
    path = tmp_path / "friend.json"
    path.write_text("\ufeff" + json.dumps(result), encoding="utf-8")  # a BOM does no harm
    return path


def test_report_keeps_an_empty_column_for_the_gpu(tmp_path):
    cpu, cuda = all_series = report.read(EXAMPLE)
    assert cpu.rows and not cuda.rows
    words = report.text(all_series)
    assert "cuda: not measured: torch" in words and words.splitlines()[3].endswith("cuda")
    verdicts = [report.verdict(claim, cpu, all_series)[1] for claim in report.read_claims()]
    assert verdicts.count("not here") == 2  # the claims about a GPU: all other rows exist
    assert {report.verdict(claim, cuda, all_series)[1] for claim in report.read_claims()} == {
        "not here"
    }
    report.draw(all_series, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 50_000


def test_report_of_two_machines(with_gpu, tmp_path):
    all_series = report.read(EXAMPLE, with_gpu)
    assert [series.label for series in all_series] == ["cpu example", "cpu friend", "cuda"]
    claim = next(c for c in report.read_claims() if c["row"].startswith("cpu:"))
    assert report.verdict(claim, all_series[2], all_series) == ("10.0", "yes")
    assert "Pretend GPU" in report.text(all_series)
    report.draw(all_series, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 50_000


def test_verdicts():
    rows = {"a": {"seconds": 6.0}, "b": {"seconds": 2.0}}
    series = report.Series("cpu", "cpu", "", "", rows)
    for expected, answer in [(">= 3", "yes"), (">= 3.1", "no"), ("<= 2.9", "no"), ("= 3", "yes")]:
        claim = dict(quantity="seconds", row="a", other_row="b", expected=expected)
        assert report.verdict(claim, series, [series]) == ("3.0", answer)
    assert report.verdict(claim | {"row": "c"}, series, [series]) == ("", "not here")


def test_roof():
    """On paper: 2 GFLOP/s at best, copies of 100 bytes at 1 GB/s."""

    def row(**numbers):
        return dict(topic="roof", variant="copy", flops=0, new_bytes=1) | numbers

    best = {"x": row(flops=2000, seconds=1e-6, bytes=1, variant="product")}
    best["y"] = row(seconds=1e-7, bytes=100)
    series = report.Series("cpu", "cpu", "", "", best)
    assert series.share_of_roof(row(flops=800, bytes=100, seconds=1e-6)) == pytest.approx(0.4)
    assert series.share_of_roof(row(flops=100, bytes=100, seconds=1e-6)) == pytest.approx(0.1)
    assert series.share_of_roof(row(bytes=100, seconds=1e-6, new_bytes=0)) is None  # a view


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "does not exist"),
        ("", "is not JSON"),
        ("a,b", "is not JSON"),
        (b"\xff", "is not JSON"),
    ]
    + [(text, "holds no results") for text in ("[]", "{}", "3", '{"machine_info": {}}')]
    + [(json.dumps(json.loads(EXAMPLE.read_bytes()) | {"benchmarks": []}), "holds no results")],
)
def test_a_file_that_is_not_ours(tmp_path, content, words):
    path = tmp_path / "foreign.json"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=words) as error:
        report.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("figure", ["missing/picture.png", "."])
def test_a_figure_that_cannot_be_written(tmp_path, figure):
    with pytest.raises(ValueError, match="the picture cannot be written"):
        report.main((EXAMPLE,), tmp_path / figure)


# %% as a reader runs it
def run(*arguments, cwd=HERE.parent):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


def test_pytest_bench_measures_and_reports(tmp_path):
    few = ["-k", "test_forward and einsum and cpu-16"]
    done = run("-m", "pytest", "bench", *few, f"--benchmark-json={tmp_path}/few.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\ncpu: " in done.stdout and "\ncuda: " in done.stdout
    result = json.loads((tmp_path / "few.json").read_text(encoding="utf-8"))
    assert len(result["benchmarks"]) == 3 and result["machine_info"]["node"] == ""
    assert all(row["options"]["timer"] == "now" for row in result["benchmarks"])
    assert (tmp_path / "few.png").stat().st_size > 10_000
    assert done.stdout.count("not here") > 40 and "is not slower than einsum" in done.stdout


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["-m", "pytest", "bench", "--threads", "0"], "--threads takes a whole number from 1"),
        (["bench/report.py", "LICENSE"], "LICENSE is not JSON"),
    ],
)
def test_one_sentence_on_standard_error(arguments, words):
    done = run(*arguments)
    assert done.returncode != 0 and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not done.stdout.strip()
