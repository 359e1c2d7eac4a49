"""What must hold whatever the clock says: counts, the check, GPUs, the report."""

import contextlib
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from unittest.mock import Mock

import bench_attention
import bench_contiguity
import bench_einsum
import harness
import pytest
import report
import torch
from bench_attention import fused, matrices
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode


def test_the_formulas_give_the_operations_that_pytorch_counts():
    tensors = torch.empty(3, *bench_attention.PROGRAMS["06_bert"], device="meta")
    rows = [(v, tensors, bench_attention.about("cpu", "06_bert")) for v in (matrices, fused)]
    for v in (bench_einsum.matmul_diagonal, bench_einsum.einsum):
        rows.append((v, bench_einsum.word_vectors(64), bench_einsum.about("cpu", "small", v)))
    for variant, inputs, row in rows:
        with FlopCounterMode(display=False) as counter:
            variant(*inputs)
        assert row["operations"] == counter.get_total_flops() > 0


def test_new_memory_is_that_of_the_results_on_the_way():
    x, (q, k, v) = torch.randn(6, 6), torch.randn(3, 2, 3, 64, 8)
    squares, result = 4 * 2 * 3 * 64**2, 4 * q.numel()
    hidden = torch.ones(64, 64, dtype=torch.bool).triu(1)
    expected = [(matrices, (q, k, v), 3 * squares + result)]
    expected += [(matrices, (q, k, v, hidden), 4 * squares + result)]  # no mask is made
    expected += [(bench_einsum.matmul_diagonal, (x, x), 4 * 36), (bench_einsum.einsum, (x, x), 24)]
    expected += [(view, (x,), 0) for view, _ in bench_contiguity.VIEWS.values()]
    expected += [(copy, (x,), 4 * 36) for copy, _ in bench_contiguity.COPIES.values()]
    expected += [(bench_contiguity.repeated, (x, x[0]), 2 * 4 * 36)]
    for variant, inputs, new_bytes in expected:
        assert harness.count(variant, *inputs) == {"new_bytes": new_bytes}


def test_the_check_allows_for_rounding_but_not_for_one_wrong_element_per_row():
    x, y = torch.randn(512, 4096), torch.randn(4096, 4096)
    result, exact = x @ y, x.double() @ y.double()
    harness.check(result, exact)
    result[torch.arange(512), torch.randint(4096, (512,))] += 64
    for wrong in (result, result * torch.nan, exact.float()[None]):
        with pytest.raises(AssertionError, match="relative error|shape"):
            harness.check(wrong, exact)


WRONG = [lambda q, k, v: (q @ k.mT).softmax(-1) @ v]  # not scaled
WRONG += [lambda q, k, v: matrices(q, k, v) + torch.zeros(1)]  # a tensor on no device


@pytest.mark.parametrize("variant", [matrices, *WRONG])
@pytest.mark.parametrize("device, threads", [("cpu", 1), ("cores", 2)])
@pytest.mark.parametrize("wrap", [lambda variant: variant, harness.with_gradients])
def test_only_what_is_right_is_timed(variant, device, threads, wrap, monkeypatch):
    monkeypatch.setattr(harness, "CORES", 2)
    benchmark, calls = Mock(enabled=False, extra_info={}), []
    benchmark.side_effect = lambda *_: calls.append(torch.get_num_threads())
    inputs = [tensor.requires_grad_() for tensor in torch.randn(3, 1, 2, 9, 8).unbind()]
    row = dict(topic="", number=9, reference=wrap(bench_attention.reference))
    problem = pytest.raises(AssertionError, match="relative error|without device=")
    with contextlib.nullcontext() if variant is matrices else problem:
        harness.measure(benchmark, device, wrap(variant), *inputs, **row)
    assert calls == ([threads] if variant is matrices else [])


def test_a_reference_is_another_computation():
    q, k, v = torch.randn(3, 1, 2, 1500, 4, dtype=torch.float64)  # in two blocks of queries
    hidden = torch.ones(1500, 1500, dtype=torch.bool).triu(1)
    exact = bench_attention.reference(q, k, v, hidden)
    torch.testing.assert_close(exact, fused(q, k, v, hidden))
    with pytest.raises(RuntimeError, match="No viable backend"):  # the backend that is asked for
        bench_attention.by_backend("EFFICIENT_ATTENTION")(q, k, v)
    for a in (torch.randn(5, 5), torch.randn(5, 5).t()):
        twin = bench_contiguity.on_its_twin(lambda a, x, order: a)(a, None, None)
        assert torch.equal(twin, a) and twin.is_contiguous() != a.is_contiguous()


def rows_of(device, monkeypatch):
    """{name: (variant, inputs)} of all rows of a run on a device; its inputs hold no numbers."""
    rows = {}

    def record(benchmark, device, variant, *inputs, reference, name=None, **row):
        assert reference is not variant
        rows[f"{row['topic']}/{row['size']}/{name or variant.__name__}"] = variant, inputs

    monkeypatch.setattr(torch, "randn", lambda *size, device: torch.empty(*size, device="meta"))
    for module in (bench_attention, bench_contiguity, bench_einsum):
        monkeypatch.setattr(module, "measure", record)
        for test in [f for name, f in vars(module).items() if name.startswith("test_")]:
            marks = [mark.args for mark in test.pytestmark if mark.name == "parametrize"]
            for values in product(*(values for _, values in marks)):
                arguments = {}
                for (names, _), value in zip(marks, values):
                    arguments |= zip(names.split(", "), getattr(value, "values", [value]))
                with contextlib.suppress(pytest.skip.Exception):
                    if arguments["device"] == device:
                        test(benchmark=None, **arguments)
    return rows


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_every_claim_is_about_rows_that_the_device_measures(device, monkeypatch):
    rows = rows_of(device, monkeypatch)
    for name in [name for claim in report.read_claims() for name in claim[2:4]]:
        home, _, name = name.rpartition(":")
        assert name in rows or home not in ("", device), name


def test_every_variant_runs_on_pretended_cuda_tensors(monkeypatch):
    """Slices, copies from the CPU and gradients need a real GPU."""
    rows = rows_of("gpu", monkeypatch)
    with FakeTensorMode(), torch.no_grad():
        for name, (variant, inputs) in rows.items():
            if not inputs[0].requires_grad and not name.endswith(("x[:, ::2]", "and_product")):
                inputs = [torch.empty(x.shape, dtype=x.dtype, device="cuda") for x in inputs]
                assert variant(*inputs).device.type == "cuda", name


def test_the_clock_waits_for_the_gpu(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda: calls.append("wait"))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: calls.append("read"))
    harness.now()
    assert calls == ["wait", "read"]


def saved(path, seconds, device, **more):
    row = dict(topic="einsum", size="large", number=1000, variant="einsum", against="einsum")
    row |= dict(device=device, operations=8e6, new_bytes=2048, **more)
    rows = [dict(extra_info=row, stats=dict(min=seconds, q1=seconds * 1.4))]
    result = dict(machine_info=dict(devices={device: "words"}), benchmarks=rows)
    path.write_text("\ufeff" + json.dumps(result), "utf-8")  # a byte order mark does no harm
    return path


def run(*command):
    root = Path(__file__).parent.parent
    return subprocess.run([sys.executable, *command], cwd=root, capture_output=True, text=True)


def test_two_machines_stand_side_by_side(tmp_path):
    ours = saved(tmp_path / "ours.json", 4e-3, "cpu")
    theirs = saved(tmp_path / "theirs.json", 1e-3, "gpu", peak_bytes=4096)
    done = run("bench/report.py", ours, theirs)
    line = "1000 einsum 8.000 2.00 4,000.0? 1.00 1.00 1,000.0? 1.00 4.00 peak 4.00 KiB"
    assert done.stdout.split("\n\n")[1].splitlines()[1].split() == line.split()
    assert ours.with_suffix(".png").stat().st_size > 10_000
    done = run("bench/report.py", "LICENSE")
    assert done.stderr == "report.py: LICENSE holds no results of `pytest bench`\n"


def test_verdicts():
    row, other, noisy = (dict(seconds=s, noise=n) for s, n in ((6, 0), (2, 0), (2, 0.6)))
    cases = [(other, ">= 1", "3.00 yes"), (other, ">= 4", "3.00 no"), (other, "<= 2", "3.00 no")]
    cases += [(other, "<= 2.8", "3.00 too close"), (noisy, ">= 2", "3.00 too close")]
    for second, limit, answer in [*cases, (None, ">= 1", "not here")]:
        assert report.verdict(row, second, "seconds", limit) == answer


def test_pytest_bench_measures_what_is_selected(tmp_path):
    few, words = tmp_path / "few.json", "test_forward and einsum and cpu-small"
    done = run("-m", "pytest", "bench", "-k", words, f"--benchmark-json={few}")
    result = json.loads(few.read_text("utf-8"))
    assert [row["options"]["timer"] for row in result["benchmarks"]] == ["now"] * 4
    assert result["machine_info"]["memory_kept"] == (sys.platform == "linux")
    assert few.with_suffix(".png").exists() and "not for few pairs" in done.stdout
    assert "fused attention" not in done.stdout  # its claims were not selected
