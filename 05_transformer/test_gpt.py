"""GPT equals PyTorch's encoder under a causal mask, sees no later word, and learns."""

import random
import re
from pathlib import Path

import gpt
import pytest
import torch
from gpt import GPT, batches, evaluate, generate, losses, main, train
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformer import to_ids

SENTENCES = [tuple("abc"), tuple("ab"), tuple("cabbage"), tuple("x"), tuple("bag")]
WORDS = ["<pad>", "<bos>", "<eos>", "<unk>", *"abceg"]
VOCABULARY = {word: i for i, word in enumerate(WORDS)}
NAMES = {"W_o": "out_proj", "self_attention": "self_attn", "self_norm": "norm1"}
NAMES |= {"ffn_norm": "norm2", "ffn.0": "linear1", "ffn.2": "linear2"}


def tiny(**sizes):
    torch.manual_seed(1)
    return GPT(len(WORDS), **dict(d_model=16, heads=2) | sizes).eval()


# %% data
def test_an_epoch_has_every_sentence_once_and_no_padding_where_lengths_agree():
    sentences = SENTENCES * 24 + [("a",) * 9]
    whole = [to_ids([" ".join(words)], VOCABULARY)[0].tolist() for words in sentences]
    epochs = [[ids.tolist() for ids in batches(sentences, VOCABULARY)] for _ in range(5)]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == sorted(whole) and [1, 3, 2] in whole  # x is unknown
    assert len({str(epoch) for epoch in epochs}) > 1  # in another order


# %% model
def test_a_later_word_changes_no_earlier_logit():
    model, ids = tiny(), torch.tensor([[1, 4, 5, 6, 7, 8]])
    for position in range(1, 6):
        changed = ids.clone()
        changed[0, position] = 3
        one, other = model(ids), model(changed)
        assert_close(one[:, :position], other[:, :position])
        assert (one[:, position:] - other[:, position:]).abs().amax(-1).min() > 1e-3


def test_the_loss_of_a_padded_batch_is_that_of_its_sentences():
    model, rows = tiny(), [" ".join(words) for words in SENTENCES]
    singles = [losses(model, to_ids([row], VOCABULARY)) for row in rows]
    assert [len(single) for single in singles] == [4, 3, 8, 2, 4]  # its words and <eos>
    assert_close(losses(model, to_ids(rows, VOCABULARY)), torch.cat(singles))
    ids = to_ids(rows[:1], VOCABULARY)[0]
    expected = cross_entropy(model(ids[None])[0, :-1], ids[1:], reduction="none")
    assert_close(singles[0], expected)
    mean = torch.cat(singles).mean().exp().item()
    assert evaluate(model.train(), SENTENCES, VOCABULARY) == pytest.approx(mean, rel=1e-5)


def test_outputs_and_gradients_equal_those_of_the_encoder_of_torch_under_a_causal_mask():
    ours, ids = tiny(), torch.randint(3, 9, (3, 7))
    layer = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()

    def as_theirs(tensors):
        found = {}
        for name, tensor in tensors:
            for one, other in NAMES.items():
                name = name.replace(one, other)
            name = re.sub(r"W_[qkv]\.", "in_proj_", name)
            found.setdefault(name, []).append(tensor)
        return {name: torch.cat(parts) for name, parts in found.items()}

    theirs.load_state_dict(as_theirs(ours.layers.named_parameters(prefix="layers")))
    place = torch.arange(7)[:, None] / 10000 ** (torch.arange(0, 16, 2) / 16)
    encoding = torch.zeros(7, 16)
    encoding[:, 0::2], encoding[:, 1::2] = place.sin(), place.cos()
    embedding = ours.embedding.weight.detach().clone().requires_grad_()
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    expected = theirs(4 * embedding[ids] + encoding, mask) @ embedding.T  # 4 is the root of 16
    assert_close(ours(ids), expected)
    direction = torch.randn_like(expected)
    (ours(ids) * direction).sum().backward()
    (expected * direction).sum().backward()
    gradients = as_theirs((n, p.grad) for n, p in ours.layers.named_parameters(prefix="layers"))
    for name, parameter in theirs.named_parameters():
        assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5)
    assert_close(ours.embedding.weight.grad, embedding.grad, rtol=1e-4, atol=1e-5)


# %% generation
@pytest.mark.parametrize("temperature, top_k", [(1, 9), (0.5, 9), (1, 2), (2, 5)])
def test_words_are_drawn_by_temperature_from_the_top_k(temperature, top_k):
    torch.manual_seed(0)
    p = torch.tensor([0.02, 0.03, 0.08, 0.05, 0.15, 0.17, 0.2, 0.12, 0.18])

    def model(ids):
        assert ids.shape[0] == 1 and ids[0, :3].tolist() == [1, 4, 5]
        logits = torch.zeros(1, ids.size(1), 9)  # only those of the last position count
        logits[0, -1] = p.log()
        return logits

    drawn = [generate(model, [1, 4, 5], temperature, top_k) for _ in range(60)]
    assert all(2 not in ids[:-1] and (ids[-1] == 2 or len(ids) == 50) for ids in drawn)
    share = torch.tensor([i for ids in drawn for i in ids[3:]]).bincount(minlength=9)
    expected = p ** (1 / temperature) * (p >= p.sort().values[-top_k])
    assert_close(share / share.sum(), expected / expected.sum(), rtol=0, atol=0.05)


# %% training
def test_a_short_run_is_better_than_the_unigram(monkeypatch, capsys):
    """In this language the third word is the first one again: only attention can know it."""
    sentences = [(a, b, a, c) for a in "abcdefgh" for b in "ijklmno" for c in "pqr"]
    random.Random(0).shuffle(sentences)
    monkeypatch.setattr(gpt, "corpus", lambda: (sentences[:126], sentences[126:]))
    monkeypatch.setattr(gpt, "SIZE", 6)
    result = main(epochs=20, prompt="B k", temperature=0.1)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"held-out perplexity {result['perplexity']:.1f}"
    assert re.fullmatch("<bos> b k b [pqr] <eos>", printed[1])
    best = (8 * 7 * 3) ** (1 / 5)  # of five predictions two are certain
    unigram = (20**2 * 35 * 15 * 5) ** (1 / 5)  # a to h are twice as frequent as one might think
    assert best * 0.97 < result["perplexity"] < best * 1.2 < unigram / 4


def test_training_makes_a_batch_when_it_is_needed():
    torch.manual_seed(0)
    model, seen = tiny(dropout=0.5), []

    def data():
        for _ in range(12):
            assert model.training
            seen.append(losses(model.eval(), ids).mean().item())
            model.train()
            yield ids

    ids = to_ids([" ".join(words) for words in SENTENCES], VOCABULARY)
    train(model, data(), 12)
    assert len(set(seen)) == 12 and seen[-1] < seen[0]


@pytest.mark.promise
def test_better_than_the_feed_forward_network_and_the_trigram():
    """The numbers of the table in the README of 04, with the whole default run."""
    from ff_lm import build_vocabulary, corpus, windows
    from trigram import kneser_ney

    result = main()
    training, test = corpus()
    vocabulary = build_vocabulary(training)
    rows, test_rows = (windows(part, vocabulary, 2).tolist() for part in (training, test))
    p = kneser_ney([*map(tuple, rows)], [*map(tuple, test_rows)], len(vocabulary))
    p = {"trigram": torch.tensor(p)}
    with torch.no_grad():
        parts = [
            losses(result["model"], to_ids([" ".join(words)], result["vocabulary"]))
            for words in test
        ]
    p["GPT"] = torch.cat(parts).neg().exp()
    p["mixture"] = (p["trigram"] + p["GPT"]) / 2
    perplexity = {name: 1 / p[name].log().mean().exp().item() for name in p}
    print(perplexity)
    assert result["perplexity"] == pytest.approx(perplexity["GPT"], rel=1e-4)
    page = (Path(gpt.__file__).parents[1] / "04_ff_lm" / "README.md").read_text("utf-8")
    shown = re.search(r"^\| \[?GPT.*? \| ([\d.]+) \|", page, re.M)[1]
    assert perplexity["GPT"] == pytest.approx(float(shown), abs=2)
    assert perplexity["GPT"] < 103.9 and perplexity["mixture"] < 86.2
