"""What must hold whatever the clock says: counts, the check, GPUs, the report."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import bench_einsum
import bench_peers
import harness
import pytest
import report
import torch
from bench_attention import by_head, by_query, fused, matrices, reference
from bench_contiguity import COPIES, VIEWS
from harness import with_gradients
from torch._subclasses.fake_tensor import FakeTensorMode

HERE = Path(__file__).parent
SHAPE = 3, 2, 5, 8  # B, H, T, d


def test_work_is_what_the_formula_says():
    q, k, v = torch.randn(3, *SHAPE).requires_grad_().unbind()
    attention = 4 * q.numel() * SHAPE[2]
    for variant in by_query, by_head, matrices, fused:
        assert harness.work(variant, q, k, v) == attention
    assert harness.work(with_gradients(fused), q, k, v) == 3 * attention
    A, B = bench_einsum.word_vectors("cpu", 7)
    for name, pairs in {"matmul": 49, "einsum": 7, "python_loop": 7, "vecdot": 0}.items():
        assert harness.work(getattr(bench_einsum, name), A, B) == 200 * pairs


def test_a_view_makes_no_memory_and_a_copy_does():
    x = torch.randn(6, 6)
    for code, (line, _) in (VIEWS | COPIES).items():
        assert harness.count(line, x)["new_bytes"] == (4 * 36 if code in COPIES else 0), code
    assert harness.count(bench_einsum.matmul, x, x)["new_bytes"] == 4 * 36  # once, not twice


def test_the_check_allows_for_rounding_but_not_for_one_wrong_element_per_row():
    x, y = torch.randn(512, 4096), torch.randn(4096, 4096)
    result, exact = x @ y, x.double() @ y.double()
    harness.check(result, exact)
    result[torch.arange(512), torch.randint(4096, (512,))] += 64
    for wrong in (result, result * torch.nan, exact.float()[None]):
        with pytest.raises(AssertionError, match="relative error|shape"):
            harness.check(wrong, exact)


@pytest.mark.parametrize("device, threads", [("cpu", 1), ("cores", 2)])
def test_only_what_is_right_is_timed(device, threads, monkeypatch):
    monkeypatch.setattr(harness, "CORES", 2)
    calls, inputs = [], torch.randn(3, *SHAPE).requires_grad_().unbind()
    timer = Mock(extra_info={}, side_effect=lambda *_: calls.append(torch.get_num_threads()))
    row = dict(topic="", number=9, device=device, reference=with_gradients(reference))
    harness.measure(timer, with_gradients(matrices), *inputs, **row)
    with pytest.raises(AssertionError, match="relative error"):
        harness.measure(timer, with_gradients(lambda q, *kv: matrices(q * 2, *kv)), *inputs, **row)
    assert calls == [threads]


def test_the_reference_gives_the_same_in_two_blocks():
    q, k, v = torch.randn(3, 1, 2, 1500, 4, dtype=torch.float64)
    hidden = torch.ones(1500, 1500, dtype=torch.bool).triu(1)
    torch.testing.assert_close(reference(q, k, v, hidden), fused(q, k, v, hidden))


@pytest.fixture
def rows(request, monkeypatch):
    """(row, variant, inputs without numbers) of a run on a machine that has a GPU."""
    rows = []

    def record(benchmark, variant, /, *inputs, reference, setup=None, **row):
        rows.append(({"variant": variant.__name__} | row, variant, inputs))

    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    for name in "bench_attention", "bench_contiguity", "bench_einsum":
        module = pytest.Module.from_parent(request.session, path=HERE / f"{name}.py")
        monkeypatch.setattr(module.obj, "measure", record)
        monkeypatch.setattr(module.obj, "place", lambda device: torch.device("meta"))
        for item in module.collect():
            with contextlib.suppress(pytest.skip.Exception):
                item.obj(benchmark=None, **item.callspec.params)
    return rows


def test_every_claim_is_about_rows_that_are_measured(rows):
    rows = [row for row, *_ in rows]
    for topic, says, sizes, variants, _ in report.CLAIMS[: -len(bench_peers.CLAIMS)]:
        for device in {row["device"] for row in rows if row["topic"] == topic} - {"cores"}:
            assert all(report.find(rows, topic, sizes, variants, device)), says


def test_every_variant_runs_on_pretended_cuda_tensors(rows):
    """Indexing, copies from the CPU and gradients need a real GPU."""
    real = {"a[order]", "x[:, ::2]", "copies"}
    with FakeTensorMode(), torch.no_grad():
        for row, variant, inputs in rows:
            assert (row["variant"] == "transposed") == (inputs[0].stride() == (1, row["number"]))
            if not inputs[0].requires_grad and real.isdisjoint([row["topic"], row["variant"]]):
                inputs = [torch.empty(x.shape, dtype=x.dtype, device="cuda") for x in inputs]
                assert variant(*inputs).device.type == "cuda", row


def test_the_clock_waits_for_the_gpu(monkeypatch):
    calls = Mock()
    monkeypatch.setattr(torch, "accelerator", calls)
    monkeypatch.setattr(harness.time, "perf_counter", calls.read)
    harness.now()
    assert [name for name, *_ in calls.method_calls] == ["is_available", "synchronize", "read"]


def test_two_reasons_skip_a_row_and_its_memory_is_freed(request, monkeypatch):
    gpu, no_kernel = Mock(), "No available kernel.  Aborting execution."
    monkeypatch.setattr(torch, "accelerator", gpu)
    plugin = request.config.pluginmanager.get_plugin(str(HERE / "conftest.py"))
    skipped = []
    for error in torch.OutOfMemoryError(), RuntimeError(no_kernel), RuntimeError(no_kernel + "?"):
        call = plugin.pytest_runtest_call(item=None)
        next(call)
        with pytest.raises((RuntimeError, pytest.skip.Exception)) as caught:
            call.throw(error)
        skipped.append(caught.type is pytest.skip.Exception)
    assert skipped == [True, True, False] and gpu.empty_cache.call_count == 2


def test_verdicts():
    row, other = dict(min=6, median=6.5, work=8), dict(min=2, median=2.1, work=2)
    answers = {">= 1": "3.00 yes", ">= 4": "3.00 no", "<= 2": "3.00 no", "<= 3.2": "3.00 too close"}
    answers |= {"work = 4": "4.00 yes", "work = 3.99": "4.00 no", "work <= 3": "4.00 no"}
    assert {limit: report.verdict(row, other, limit) for limit in answers} == answers
    assert report.verdict(row, dict(min=2, median=4), ">= 2") == "3.00 too close"
    assert report.verdict(row, None, ">= 1") == "not measured"


def run(*options):
    command = [sys.executable, "-m", "pytest", "-q", *options]
    return subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True).stdout


def test_pytest_bench_measures_what_is_selected(tmp_path):
    few, words = tmp_path / "few.json", "test_forward and cpu-huge"
    options = "-k", words, f"--benchmark-json={few}"
    run("bench/bench_einsum.py", "tests/house.py", *options)
    assert not few.exists()  # plain pytest times nothing
    shown = run("bench", *options)
    result = json.loads(few.read_text("utf-8"))
    options = [row["options"] for row in result["benchmarks"]]
    times = [(option["timer"], option["max_time"], option["precision"]) for option in options]
    assert times == [("now", 0.2, None)] * 4 and result["machine_info"]["blas"]
    assert few.with_suffix(".png").exists() and "fused" not in shown
    assert "16 times slower" in shown and "E times the work" not in shown  # of these rows only


@pytest.mark.lint
def test_the_example_has_the_rows_of_today():
    """On this machine, what it lacks is skipped."""
    example = json.loads((HERE / "example.json").read_text("utf-8"))
    rows = {row["fullname"] for row in example["benchmarks"]}
    listed = run("bench", "--collect-only", "--benchmark-disable").splitlines()
    today = {line for line in listed if line.startswith("bench/bench_") and "gpu" not in line}
    assert len(rows) > 150 and rows <= today
    summary = run(*sorted(today - rows), "--benchmark-disable").splitlines()[-1]
    assert summary.split()[1:3] == ["skipped", "in"]
