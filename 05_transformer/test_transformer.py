"""The Transformer equals PyTorch's own, cannot see what it must not see, and learns."""

import itertools
import math
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import transformer as t
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close

SRC = torch.tensor([[1, 5, 6, 7, 2, 0, 0], [1, 8, 9, 4, 10, 5, 2]])
TGT = torch.tensor([[1, 6, 7, 8, 9], [1, 12, 4, 0, 0]])
NAMES = {"coder.": "coder.layers.", "self_attention": "self_attn", "W_o": "out_proj"}
NAMES |= {"cross_attention": "multihead_attn", "ffn.0": "linear1", "ffn.2": "linear2"}
NAMES |= {f"W_{x}.": "in_proj_" for x in "qkv"} | {f"norms.{i}": f"norm{i + 1}" for i in range(3)}


def tiny(**sizes):
    torch.manual_seed(1)
    sizes = dict(src_vocab=11, tgt_vocab=13, d_model=16, heads=2, d_ff=24, layers=2) | sizes
    return t.Transformer(**sizes).eval()


def vocabulary(words):
    return {w: i for i, w in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *words])}


def as_theirs(tensors):
    """Tensors of our layers by the names of torch.nn.Transformer, which stacks W_q, W_k and W_v."""
    found = {}
    for name, tensor in tensors:
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        found.setdefault(name, []).append(tensor)
    return {name: torch.cat(parts) for name, parts in found.items() if "layers" in name}


def test_outputs_and_gradients_equal_those_of_torch():
    model, theirs = tiny(dropout=0), nn.Transformer(16, 2, 2, 2, 24, dropout=0, batch_first=True)
    theirs.encoder.norm = theirs.decoder.norm = None  # the paper has none at the end of a stack
    theirs.load_state_dict(as_theirs(model.state_dict().items()))
    own = model.src_embedding.weight, model.tgt_embedding.weight
    embeddings = [weight.detach().clone().requires_grad_() for weight in own]
    x, y = (w[i] * 4 + t.positions(i.size(1), 16, "cpu") for w, i in zip(embeddings, (SRC, TGT)))
    causal = torch.ones(5, 5).triu(1).bool()
    expected = theirs(x, y, None, causal, None, SRC == 0, None, SRC == 0) @ embeddings[1].T
    logits = model(SRC, TGT)
    assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    for output in expected, logits:
        output[TGT != 0].square().mean().backward()
    gradients = as_theirs((name, weight.grad) for name, weight in model.named_parameters())
    for name, weight in theirs.named_parameters():
        assert_close(gradients[name], weight.grad, rtol=1e-4, atol=1e-6)
    for copy, weight in zip(embeddings, own):
        assert_close(weight.grad, copy.grad, rtol=1e-4, atol=1e-6)


def test_attention_equals_scaled_dot_product_attention():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8), torch.randn(2, 3, 7, 8)
    mask = (torch.rand(2, 1, 5, 7) < 0.3) & (torch.arange(7) > 0)
    output, weights = t.attention(q, k, v, mask)
    assert_close(output, nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=~mask))
    assert (weights[mask.expand_as(weights)] == 0).all()


def test_attention_by_hand():
    """The README's example: scores ln 3 and 0 give weights 3/4 and 1/4."""
    q, k, v = torch.tensor([[2 * math.log(3), 0, 0, 0]]), torch.eye(2, 4), torch.eye(2) * 4
    output, weights = t.attention(q, k, v * torch.tensor([1, 2]), torch.tensor([[False, False]]))
    assert_close((weights, output), (torch.tensor([[0.75, 0.25]]), torch.tensor([[3.0, 2.0]])))
    assert t.attention(q, k, k, torch.tensor([[False, True]]))[1].tolist() == [[1, 0]]


def test_positions_are_the_formula_of_the_paper():
    for pos, i in itertools.product((0, 1, 50, 2999), range(8)):
        angle = pos / 10000 ** (2 * i / 16)
        sine, cosine = t.positions(3000, 16, "cpu")[pos, 2 * i : 2 * i + 2].tolist()
        assert (sine, cosine) == pytest.approx((math.sin(angle), math.cos(angle)), abs=2e-3)


def test_a_later_target_word_changes_no_earlier_logit():
    model, other = tiny(), TGT.clone()
    other[:, 3] = 11
    before, after = model(SRC, TGT), model(SRC, other)
    assert torch.equal(before[:, :3], after[:, :3]) and not torch.equal(before[0, 3], after[0, 3])


def test_padding_changes_nothing():
    model = tiny()
    logits, alone = model(SRC, TGT), model(SRC[:1, :5], TGT[:1])
    wider = model(nn.functional.pad(SRC, (0, 4)), nn.functional.pad(TGT, (0, 3)))
    assert_close((logits[:1], wider[:, :5]), (alone, logits), rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_the_same_gradient_every_time():
    """Large enough for several threads, and words repeat: an index adds in whatever order."""
    model, gradients = t.Transformer(50, 50, dropout=0), []
    src, tgt = torch.randint(4, 50, (64, 13)), torch.randint(4, 50, (64, 12))
    for _ in range(4):
        model.zero_grad()
        model(src, tgt).logsumexp(-1).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for (name, _), first, *others in zip(model.named_parameters(), *gradients):
        assert all(torch.equal(first, other) for other in others), name
        # a shift of all keys shifts all scores of a query alike: the softmax does not see it
        assert first.abs().max() > 0 or name.endswith("W_k.bias"), name


def test_embeddings_and_dropout_are_those_of_the_paper():
    model, zeros = t.Transformer(500, 500, d_model=64, layers=1, dropout=0.4), []
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            assert module.weight.std().item() == pytest.approx(64**-0.5, rel=0.03)
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _, x, y: zeros.append((y == 0).float().mean()))
    model(SRC, TGT)  # embeddings with their positions, twice; two and three parts of the layers
    assert zeros == pytest.approx([0.4] * 7, abs=0.1)


def test_words_are_split_in_any_script():
    texts = {"¿Comes  PAN,\u202fo'no?\u2028": "¿ comes pan , o ' no ?", "nin\u0303o": "ni\u00f1o"}
    texts |= {"किताब चिट्ठी।": "किताब चिट्ठी ।", "我们看GPT4书。": "我 们 看 gpt4 书 。"}
    for text, words in texts.items():
        assert t.split_words(text) == words == t.split_words(words)


def write(folder, train, test=b"uno\tone\n"):
    (folder / "pairs.tsv").write_bytes(train)
    (folder / "pairs_test.tsv").write_bytes(test)


def test_lines_may_have_a_byte_order_mark_windows_ends_and_further_columns(tmp_path):
    write(tmp_path, "\ufeff¿Comes?\tDo you\u2028eat?\tCC-BY\r\nSí.\tYes.\r\n\r\n".encode())
    pairs = [("¿ comes ?", "do you eat ?"), ("sí .", "yes .")]
    assert list(t.read_pairs(tmp_path / "pairs.tsv")) == pairs


BAD = {b"": "line 1: no tab", b"a\tb\nc d\ne\tf\n": "line 2: no tab"}
BAD[b"a\tb\n\xf1\to\n"] = "line 2: not UTF-8"


@pytest.mark.parametrize("lines, sentence", BAD.items(), ids=BAD.values())
def test_a_bad_line_is_named_before_training(lines, sentence, tmp_path, capsys):
    for name, files in {"pairs": (lines, b"a\tb\n"), "pairs_test": (b"a\tb\n" * 3, lines)}.items():
        write(tmp_path, *files)
        with pytest.raises(ValueError, match=f"{name}.tsv, {sentence}"):
            t.main(data=tmp_path)
    assert not capsys.readouterr().out


def test_words_seen_fewer_than_three_times_are_unknown():
    words = t.build_vocabulary(["b a b", "c b a", "a c"])
    assert words == vocabulary("ba")
    assert t.to_ids(["a b", "c"], words, "cpu").tolist() == [[1, 5, 4, 2], [1, 3, 2, 0]]


def test_an_epoch_has_every_pair_once_with_similar_lengths_together():
    words = vocabulary(f"w{i}" for i in range(100, 250))
    pairs = [(f"w{i}" + " ." * (i % 9), f"w{i} .") for i in range(100, 250)]
    torch.manual_seed(0)
    epochs = [list(t.batches(pairs, [words, words], "cpu", 32)) for _ in range(2)]
    for epoch in epochs:
        assert sorted(len(src) for src, _ in epoch) == [22, 32, 32, 32, 32]
        firsts = torch.cat([torch.stack([src[:, 1], tgt[:, 1]], 1) for src, tgt in epoch])
        assert sorted(firsts.tolist()) == [[i, i] for i in range(4, 154)]
        assert sum((src == t.PAD).sum() for src, _ in epoch) < 150
    orders = [[src[:, 1].tolist() for src, _ in epoch] for epoch in epochs]
    assert orders[0] != orders[1] and sorted(orders[0]) != sorted(orders[1])
    lengths = [src.size(1) for src, _ in epochs[0]]
    assert lengths != sorted(lengths)


class Table(nn.Module):
    """In place of a Transformer: the logits of the next word, whatever was read before it."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, src, tgt):
        return self.logits.expand(*tgt.shape, -1)


def test_the_loss_ignores_padding_and_smooths_the_labels():
    model, tgt = Table(0.1, 0.7, 0.2, -0.4, 1.0, 0.3), torch.tensor([[1, 4, 5, 2], [1, 4, 2, 0]])
    log_p = model.logits.log_softmax(-1).detach()
    expected = sum(-0.9 * log_p[i] - 0.1 * log_p.mean() for i in (4, 5, 2, 4, 2)) / 5
    assert t.train(model.eval(), [[(tgt, tgt)]], 1, 1e-3) == pytest.approx([expected.item()])
    assert model.training


def test_the_learning_rate_rises_and_falls_and_adam_keeps_its_betas(capsys):
    batch, seen = (torch.tensor([[1, 4, 2]]),) * 2, []
    hook = register_optimizer_step_pre_hook
    hook = hook(lambda adam, *_: seen.append([adam.param_groups[0][x] for x in ("lr", "betas")]))
    curve = t.train(Table(*[0.0] * 5), (iter([batch] * 25) for _ in range(4)), 100, 1e-2)
    hook.remove()
    rates, betas = zip(*seen)
    top = rates.index(max(rates))
    assert len(rates) == 100 and set(betas) == {(0.9, 0.98)} and 4 < top < 40
    assert list(rates) == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    assert rates[0] < 1e-3 and rates[top] == pytest.approx(1e-2, rel=0.1) and rates[-1] < 1e-3
    assert len(curve) == 50 and curve[-1] < curve[0]
    assert capsys.readouterr().out.endswith(f"epoch 4.0: loss {curve[-1]:.3f}\n")


@torch.no_grad()
def test_greedy_appends_the_likeliest_word_until_the_end():
    model, words = tiny(tgt_vocab=5), [vocabulary("abcdefg"), vocabulary("x")]
    for source in "a b", "c", "d e f g":
        output = t.greedy(model.train(), source, words)
        src, tgt = t.to_ids([source], words[0], "cpu"), t.to_ids([output], words[1], "cpu")
        end = tgt.size(1) - (tgt.size(1) > 3 * src.size(1))  # it may have stopped at the limit
        assert torch.equal(model.eval()(src, tgt)[:, : end - 1].argmax(-1), tgt[:, 1:end])


def formulaic(folder):
    """200 pairs to learn from, 20 that combine the same words otherwise, one not to be learned."""
    words = "ana luis eva juan pepe sara", "come ve compra pinta", "pan té queso flan", "rojo negro"
    english, lines = dict(come="eats", ve="sees", pan="bread", rojo="red", negro="black"), []
    for a, b, c, d, end in itertools.product(*(side.split() for side in words), ".!"):
        a, *others = [english.get(word, word) for word in (a, b, d, c)]
        lines.append(f"{a} {b} {c} {d}{end}\t{a} {' '.join(others)}{end}\n")
    order = torch.randperm(len(lines), generator=torch.Generator().manual_seed(0)).tolist()
    parts = "".join(lines[i] for i in order[:200]), "".join(lines[i] for i in order[200:220])
    write(folder, parts[0].encode(), f"{parts[1]}eva\tnobody nobody nobody".encode())


def test_two_hundred_pairs_are_learned_and_every_run_is_the_same(tmp_path, capsys, monkeypatch):
    formulaic(tmp_path)
    settings = dict(data=tmp_path, figure=tmp_path / "a.png")
    r = t.main(epochs=40, translate=("Rosa come.", "EVA come pan negro."), **settings)
    assert 0.5 <= r["exact_match"] < 1 and r["curve"][-1] < 1.5
    assert "nobody" not in r["vocabularies"][1]
    printed = capsys.readouterr().out
    assert "\n<unknown: rosa> come . -> " in printed
    assert "\neva come pan negro . -> eva eats black bread .\n" in printed
    for head, ax in enumerate(plt.gcf().axes):
        rows, columns = ([x.get_text() for x in a.get_ticklabels()] for a in (ax.yaxis, ax.xaxis))
        assert columns == "<bos> eva come pan negro . <eos>".split()
        assert rows == "eva eats black bread . <eos>".split()
        weights = r["model"].decoder[-1].cross_attention.weights[0, head]
        assert_close(torch.tensor(ax.images[0].get_array()), weights)
    assert head == 3 and (tmp_path / "a.png").stat().st_size > 10_000
    monkeypatch.setattr(t, "evaluate", lambda *_: 0)
    assert t.main(epochs=2, **settings)["curve"] == t.main(epochs=2, **settings)["curve"]


def test_the_peak_falls_with_the_width_and_the_steps_are_those_of_all_epochs(tmp_path, monkeypatch):
    def train(model, epochs, steps, peak):
        seen.append((sum(1 for epoch in epochs for _ in epoch), steps, peak))

    formulaic(tmp_path)
    monkeypatch.setattr(t, "train", train)
    monkeypatch.setattr(t, "evaluate", lambda *_: 0)
    seen = []
    for d_model in 16, 64:
        t.main(data=tmp_path, epochs=3, d_model=d_model, figure=tmp_path / "a.png")
    (batches, steps, peak), (_, _, lower) = seen
    assert batches == steps == 24 and peak == pytest.approx(2 * lower)


def test_exact_match_counts_whole_translations(monkeypatch):
    monkeypatch.setattr(t, "greedy", lambda model, source, vocabularies: source.upper())
    assert t.evaluate(None, [("a b", "A B"), ("c", "C C"), ("d", "D"), ("e f", "F E")], None) == 0.5


def recipe(name):
    """What the README's block that defines this function defines."""
    text = Path(__file__).with_name("README.md").read_text("utf-8")
    namespace = {}
    exec(re.search(rf"```python\n((?:(?!```).)*def {name}\(.*?)```", text, re.DOTALL)[1], namespace)
    return namespace


@torch.no_grad()
def test_a_beam_that_covers_everything_is_exhaustive_search():
    model, words = tiny(tgt_vocab=5), [vocabulary("abcdefg"), vocabulary("x")]
    beam_search, scores = recipe("beam_search")["beam_search"], {}
    src = t.to_ids(["d e f g"], words[0], "cpu")
    for sentence in (s for n in range(4) for s in itertools.product([0, 1, 3, 4], repeat=n)):
        ids, text = [*sentence, t.EOS][:3], " ".join(list(words[1])[i] for i in sentence)
        log_p = model(src, torch.tensor([[t.BOS, *ids]])).log_softmax(-1)[0]
        scores[text] = log_p[range(len(ids)), ids].mean().item()
    found = beam_search(model, "d e f g", words, beam=500, longest=4)
    assert scores[found] == pytest.approx(max(scores.values()), abs=1e-5)
    assert beam_search(model, "d e f g", words, beam=1) == t.greedy(model, "d e f g", words)


def test_a_saved_model_translates_as_before(tmp_path):
    model, words = tiny(tgt_vocab=5, d_ff=64), [vocabulary("abcdefg"), vocabulary("x")]
    recipe("save")["save"](model, words, tmp_path / "model.pt")
    again, vocabularies = recipe("load")["load"](tmp_path / "model.pt")
    assert t.greedy(again, "a b", vocabularies) == t.greedy(model, "a b", words)
