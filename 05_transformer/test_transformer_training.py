"""Reading pairs, their batches, the training loss and schedule, and a whole run that learns."""

import itertools

import matplotlib.pyplot as plt
import pytest
import torch
import transformer as t
from test_transformer import vocabulary
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.testing import assert_close


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


BAD = {b"": 1, b"a\tb\nc d\ne\tf\n": 2, b"a\tb\n\xf1\to\n": 2}


@pytest.mark.parametrize("lines, number", BAD.items(), ids=["empty", "no tab", "not UTF-8"])
def test_a_bad_line_is_named_before_training(lines, number, tmp_path, capsys):
    for name, files in {"pairs": (lines, b"a\tb\n"), "pairs_test": (b"a\tb\n" * 3, lines)}.items():
        write(tmp_path, *files)
        with pytest.raises(ValueError, match=f"{name}.tsv, line {number}: not UTF-8 text of"):
            t.main(data=tmp_path)
    assert not capsys.readouterr().out


def test_words_seen_fewer_than_three_times_are_unknown():
    words = t.build_vocabulary(["b a b", "c b a", "a c"])
    assert words == vocabulary("ba")
    assert t.to_ids(["a b", "c"], words, "cpu").tolist() == [[1, 5, 4, 2], [1, 3, 2, 0]]


def test_an_epoch_has_every_pair_once_with_similar_lengths_together():
    words = vocabulary(f"w{i}" for i in range(100, 250))
    pairs = [(f"w{i}" + " ." * (i % 9), f"w{i} .") for i in range(100, 250)]
    epochs = [list(t.batches(pairs, [words, words], "cpu", 16)) for _ in range(2)]
    for epoch in epochs:
        assert sorted(len(src) for src, _ in epoch) == [6] + [16] * 9
        firsts = torch.cat([torch.stack([src[:, 1], tgt[:, 1]], 1) for src, tgt in epoch])
        assert sorted(firsts.tolist()) == [[i, i] for i in range(4, 154)]
        assert sum((src == t.PAD).sum() for src, _ in epoch) < 150
    orders = [[src.size(1) for src, _ in epoch] for epoch in epochs]
    assert orders[0] != orders[1] and sorted(orders[0]) not in orders


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
    losses = t.train(Table(*[0.0] * 5), (iter([batch] * 25) for _ in range(4)), 100, 1e-2)
    hook.remove()
    rates, betas = zip(*seen)
    top = rates.index(max(rates))
    assert len(rates) == 100 and set(betas) == {(0.9, 0.98)} and 4 < top < 40
    assert list(rates) == sorted(rates[:top]) + sorted(rates[top:], reverse=True)
    assert rates[0] < 1e-3 and rates[top] == pytest.approx(1e-2, rel=0.1) and rates[-1] < 1e-3
    assert len(losses) == 50 and losses[-1] < losses[0]
    assert capsys.readouterr().out.endswith(f"step 100 of 100: loss {losses[-1]:.3f}\n")


def formulaic(folder):
    """200 training pairs; 20 test pairs that combine the same words anew, and one of new words."""
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
    assert 0.5 <= r["exact_match"] < 1 and r["losses"][-1] < 1.5
    assert "nobody" not in r["vocabularies"][1]
    printed = capsys.readouterr().out
    assert "\n<unknown: rosa> come . -> " in printed
    assert "\neva come pan negro . -> eva eats black bread .\n" in printed
    for head, ax in enumerate(plt.gcf().axes):
        rows, columns = ([x.get_text() for x in a.get_ticklabels()] for a in (ax.yaxis, ax.xaxis))
        assert columns == "<bos> eva come pan negro . <eos>".split()
        assert rows == "eva eats black bread . <eos>".split()
        weights = r["model"].decoder[-1].cross_attention.weights[0, head]
        assert_close(torch.tensor(ax.images[0].get_array()).float(), weights)
    assert head == 3 and (tmp_path / "a.png").stat().st_size > 10_000
    monkeypatch.setattr(t, "evaluate", lambda *_: 0)
    assert t.main(epochs=2, **settings)["losses"] == t.main(epochs=2, **settings)["losses"]


def test_the_peak_falls_with_the_width_and_the_steps_are_those_of_all_epochs(tmp_path, monkeypatch):
    def train(model, epochs, steps, peak):
        seen.append(([len(src) for epoch in epochs for src, _ in epoch], steps, peak))

    formulaic(tmp_path)
    monkeypatch.setattr(t, "train", train)
    monkeypatch.setattr(t, "evaluate", lambda *_: 0)
    monkeypatch.setattr(t, "draw", lambda *_: 0)
    seen, pairs = [], (tmp_path / "pairs.tsv").read_text(encoding="utf-8")
    for d_model, copies in (16, 1), (64, 3):
        (tmp_path / "pairs.tsv").write_text(pairs * copies, encoding="utf-8")
        t.main(data=tmp_path, epochs=3, d_model=d_model, figure=tmp_path / "a.png")
    (small, steps, peak), (large, more, lower) = seen
    assert len(small) == steps == 3 * 13 and len(large) == more == 3 * 10  # batches of 16 and 64
    assert max(small) == 16 and max(large) == 64 and peak == pytest.approx(2 * lower)


def test_exact_match_counts_whole_translations(monkeypatch):
    monkeypatch.setattr(t, "greedy", lambda model, source, vocabularies: source.upper())
    assert t.evaluate(None, [("a b", "A B"), ("c", "C C"), ("d", "D"), ("e f", "F E")], None) == 0.5
