"""The Transformer equals PyTorch's own, cannot see what it must not see, and learns."""

import itertools
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformer as t
from torch import nn

HERE = Path(__file__).parent


def tiny(**sizes):
    torch.manual_seed(1)
    sizes = dict(src_vocab=11, tgt_vocab=13, d_model=16, heads=4, d_ff=24, layers=2) | sizes
    return t.Transformer(**sizes).eval()


def padded_batch():
    src = torch.tensor([[1, 5, 6, 7, 2, 0, 0], [1, 8, 9, 4, 10, 5, 2]])
    tgt = torch.tensor([[1, 6, 7, 8, 9], [1, 12, 4, 0, 0]])
    return src, tgt


def matched(theirs, model):
    """(parameter of torch.nn.Transformer, our parameters that lie one below the other in it)."""
    for stack, own in (theirs.encoder, model.encoder), (theirs.decoder, model.decoder):
        for a, b in zip(stack.layers, own):
            for x, y in ("self_attn", "self_attention"), ("multihead_attn", "cross_attention"):
                if y := getattr(b, y):
                    x, projections = getattr(a, x), (y.W_q, y.W_k, y.W_v)
                    yield x.in_proj_weight, [p.weight for p in projections]
                    yield x.in_proj_bias, [p.bias for p in projections]
                    yield from zip(x.out_proj.parameters(), ([p] for p in y.W_o.parameters()))
            modules = [(a.linear1, b.ffn[0]), (a.linear2, b.ffn[2])]
            modules += [(getattr(a, f"norm{i}"), norm) for i, norm in enumerate(b.norms, 1)]
            for x, y in modules:
                yield from zip(x.parameters(), ([p] for p in y.parameters()))


def test_outputs_and_gradients_equal_those_of_torch():
    model, (src, tgt) = tiny(dropout=0.0), padded_batch()
    theirs = nn.Transformer(16, 4, 2, 2, 24, dropout=0.0, batch_first=True)
    theirs.encoder.norm = theirs.decoder.norm = None  # the paper has none at the end of a stack
    for parameter, own in matched(theirs, model):
        parameter.data.copy_(torch.cat([p.detach() for p in own]))
    tables = [p.detach().clone().requires_grad_() for p in (model.src_table, model.tgt_table)]
    x, y = (
        table[i] * 4 + t.positions(i.size(1), 16, "cpu") for table, i in zip(tables, (src, tgt))
    )
    future = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.bool)
    hidden = theirs(x, y, None, future, None, src == 0, tgt == 0, src == 0)
    expected, logits = hidden @ tables[1].T, model(src, tgt)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    for output in expected, logits:
        output[tgt != 0].square().mean().backward()
    grads = [(parameter.grad, [p.grad for p in own]) for parameter, own in matched(theirs, model)]
    grads += [(tables[0].grad, [model.src_table.grad]), (tables[1].grad, [model.tgt_table.grad])]
    assert sum(len(own) for _, own in grads) == len(list(model.parameters()))
    for expected, own in grads:
        torch.testing.assert_close(torch.cat(own), expected, rtol=1e-4, atol=1e-6)


def test_attention_equals_scaled_dot_product_attention():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    mask = torch.rand(2, 1, 5, 7) < 0.3
    mask[..., 0] = False
    output, weights = t.attention(q, k, v, mask)
    expected = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=~mask)
    torch.testing.assert_close(output, expected)
    assert (weights[mask.expand_as(weights)] == 0).all()


def test_attention_by_hand():
    """The README's example: scores ln 3 and 0 give weights 3/4 and 1/4."""
    q, k = torch.tensor([[2 * math.log(3), 0, 0, 0]]), torch.eye(2, 4)
    v = torch.tensor([[4.0, 0.0], [0.0, 8.0]])
    output, weights = t.attention(q, k, v, torch.tensor([[False, False]]))
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(output, torch.tensor([[3.0, 2.0]]))
    _, hidden = t.attention(q, k, v, torch.tensor([[False, True]]))
    assert hidden.tolist() == [[1, 0]]


def test_exercise_1_a_query_equal_to_its_key_does_not_return_its_value_alone():
    x = torch.eye(2)
    _, weights = t.attention(x, x, x, torch.zeros(2, 2, dtype=torch.bool))
    torch.testing.assert_close(weights[0], torch.tensor([0.67, 0.33]), atol=0.005, rtol=0)


def test_exercise_2_a_large_number_is_infinity_unless_all_is_hidden_or_half_precision():
    scores, M = torch.randn(4, 4), torch.full((4, 4), -torch.inf).triu(1)
    large = M.nan_to_num(neginf=-1e9)
    assert torch.equal((scores + M).softmax(-1), (scores + large).softmax(-1))
    assert (scores.sub(torch.inf)).softmax(-1).isnan().all()
    torch.testing.assert_close(torch.full((1, 4), -1e9).softmax(-1), torch.full((1, 4), 0.25))
    assert torch.tensor(1e9).half().isinf()


@pytest.mark.parametrize("length, d_model", [(1, 2), (7, 16), (3000, 8)])
def test_positions_are_the_formula_of_the_paper(length, d_model):
    table = t.positions(length, d_model, "cpu")
    for pos in {0, length // 2, length - 1}:
        for i in range(d_model // 2):
            angle = pos / 10000 ** (2 * i / d_model)
            assert table[pos, 2 * i].item() == pytest.approx(math.sin(angle), abs=2e-3)
            assert table[pos, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=2e-3)


def test_a_later_target_word_changes_no_earlier_logit():
    model, (src, tgt) = tiny(), padded_batch()
    other = tgt.clone()
    other[:, 3] = 11
    before, after = model(src, tgt), model(src, other)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[0, 3], after[0, 3])


def test_padding_changes_nothing():
    model, (src, tgt) = tiny(), padded_batch()
    alone = model(src[:1, :5], tgt[:1])
    torch.testing.assert_close(model(src, tgt)[:1], alone, rtol=1e-4, atol=1e-5)
    wider = model(nn.functional.pad(src, (0, 4)), nn.functional.pad(tgt, (0, 3)))
    torch.testing.assert_close(wider[:, :5], model(src, tgt), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient():
    model, (src, tgt) = tiny().train(), padded_batch()
    model(src, tgt).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # a shift of all keys shifts all scores of a query alike: the softmax does not see it
        assert parameter.grad.abs().max() > 0 or name.endswith("W_k.bias"), name


def test_a_gradient_is_the_same_to_the_last_bit_every_time():
    """Large enough for several threads, and words repeat: an index adds in whatever order."""
    torch.manual_seed(0)
    model = t.Transformer(50, 50, dropout=0)
    src, tgt = torch.randint(4, 50, (64, 13)), torch.randint(4, 50, (64, 12))
    gradients = []
    for _ in range(5):
        model.zero_grad()
        model(src, tgt).logsumexp(-1).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for others in gradients[1:]:
        assert all(map(torch.equal, gradients[0], others))


def toy(tmp_path, lines=60):
    path = tmp_path / "toy.tsv"
    words = "uno dos tres cuatro cinco seis siete ocho".split()
    numbers = "one two three four five six seven eight".split()
    rows = [(i % 8, i // 8 % 8) for i in range(lines)]
    path.write_text("".join(f"{words[a]} {words[b]}\t{numbers[b]} {numbers[a]}\n" for a, b in rows))
    return path


def test_greedy_of_a_batch_is_greedy_of_each():
    model = tiny()
    vocabularies = [{w: i for i, w in enumerate("<pad> <bos> <eos> <unk>".split())} for _ in "st"]
    vocabularies[0] |= {f"s{i}": i for i in range(4, 11)}
    vocabularies[1] |= {f"t{i}": i for i in range(4, 13)}
    sentences = ["s4", "s5 s6 s7 s8 s9 s10", "s6 s6", "never seen"]
    together = t.greedy(model, sentences, vocabularies)
    alone = [t.greedy(model, [s], vocabularies)[0] for s in sentences]
    for a, b in zip(together, alone):
        assert a.startswith(b) or b.startswith(a)  # the limit of length is the batch's


def readme_block(number):
    """What the README's runnable block of that number defines."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    namespace = {}
    exec(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)[number], namespace)
    return namespace


def tiny_vocabularies():
    special = "<pad> <bos> <eos> <unk>".split()
    return [{w: i for i, w in enumerate([*special, *words])} for words in ("abcdefg", "x")]


def score(model, source, words, vocabularies, longest):
    """Mean log-probability of the words and, if there is room for it, of the end."""
    ids = [vocabularies[1][word] for word in words] + [t.EOS] * (len(words) + 1 < longest)
    src = t.to_ids([source], vocabularies[0], "cpu")
    log_p = model(src, torch.tensor([[t.BOS, *ids]])).log_softmax(-1)[0]
    return log_p[range(len(ids)), ids].mean().item()


@torch.no_grad()
def test_a_beam_that_covers_everything_is_exhaustive_search():
    beam_search, vocabularies, longest = readme_block(0)["beam_search"], tiny_vocabularies(), 4
    words = ["<bos>", "<unk>", "x"]  # with the end, all that can follow
    every = [s for n in range(longest) for s in itertools.product(words, repeat=n)]
    for seed in range(2):
        torch.manual_seed(seed)
        model = t.Transformer(11, 5, d_model=8, heads=2, d_ff=8, layers=1).eval()
        sources = ["a b", "c", "d e f g"]
        found = beam_search(model, sources, vocabularies, beam=100, longest=longest)
        for source, text in zip(sources, found):
            scores = {s: score(model, source, s, vocabularies, longest) for s in every}
            assert scores[tuple(text.split())] == pytest.approx(max(scores.values()), abs=1e-5)
            greedy = beam_search(model, [source], vocabularies, beam=1, longest=longest)[0]
            few = beam_search(model, [source], vocabularies, beam=3, longest=longest)[0]
            assert scores[tuple(few.split())] >= scores[tuple(greedy.split())] - 1e-5
            assert text == beam_search(model, [source], vocabularies, 100, longest)[0]


def test_the_vocabulary_is_counted_and_ordered():
    vocabulary = t.build_vocabulary(["b a b", "c b a"], min_count=2)
    assert list(vocabulary) == ["<pad>", "<bos>", "<eos>", "<unk>", "b", "a"]
    ids = t.to_ids(["a b", "z"], vocabulary, "cpu")
    assert ids.tolist() == [[1, 5, 4, 2], [1, 3, 2, 0]]


def run(*arguments, cwd=None):
    command = [sys.executable, HERE / "transformer.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


BAD = {
    "missing": (None, "No such file"),
    "empty": (b"", "line 1"),
    "no tab": (b"uno\tone\ndos two\n", "line 2"),
    "too small": (b"uno\tone\n" * 3, "too small"),
    "latin-1": ("niño\tchild\n".encode("latin-1"), "UTF-8"),
}


@pytest.mark.parametrize("content, sentence", BAD.values(), ids=BAD)
def test_bad_files_get_one_sentence(content, sentence, tmp_path, monkeypatch):
    path = tmp_path / "bad.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=sentence):
        t.main(pairs=path, figure=tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_errors_are_one_line_without_traceback(tmp_path):
    done = run("--pairs", tmp_path / "none.tsv", "--figure", tmp_path / "a.png")
    assert done.returncode != 0 and len(done.stderr.strip().splitlines()) == 1
    assert "none.tsv" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", [{"figure": "/no/such/folder/a.png"}, {"figure": "a.doc"}])
def test_an_unwritable_picture_is_found_before_training(setting):
    with pytest.raises(ValueError, match="cannot save"):
        t.main(figure=Path(setting["figure"]))


def test_a_device_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="no device 'abacus'"):
        t.main(device="abacus", figure=tmp_path / "a.png")


def test_bom_windows_line_ends_and_further_columns_are_accepted(tmp_path):
    path = tmp_path / "windows.tsv"
    path.write_bytes("\ufeff¿Comes  pan?\tDo you eat bread?\tCC-BY\r\nSí.\tYes.\r\n".encode())
    assert [*t.read_pairs(path)] == [["¿ comes pan ?", "do you eat bread ?"], ["sí .", "yes ."]]
    assert [*t.read_pairs(path, reverse=True)][1] == ["yes .", "sí ."]


def test_a_line_of_a_million_characters_is_cut(tmp_path):
    path = toy(tmp_path)
    path.write_text(path.read_text() + "uno  dos " * 110_000 + "\ttwo one\n")
    result = t.main(pairs=path, epochs=1, d_model=8, figure=tmp_path / "a.png")
    assert 0 < result["loss"] < 10


def test_a_short_run_learns_and_repeats(tmp_path, capsys):
    results = [t.main(pairs=toy(tmp_path), epochs=3, d_model=16, figure=tmp_path / "a.png")]
    results += [t.main(pairs=toy(tmp_path), epochs=3, d_model=16, figure=tmp_path / "a.png")]
    assert results[0]["loss"] == results[1]["loss"] and 1 < results[0]["loss"] < 4
    assert (tmp_path / "a.png").stat().st_size > 10_000
