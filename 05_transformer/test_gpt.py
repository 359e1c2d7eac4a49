"""GPT equals PyTorch's encoder under a causal mask, sees no later word, and learns."""

import random
import re
from pathlib import Path

import gpt
import pytest
import torch
from gpt import GPT, batches, evaluate, generate, losses, main, train
from test_transformer import as_theirs, vocabulary
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformer import positions, to_ids

SENTENCES = [tuple("abc"), tuple("ab"), tuple("cabbage"), tuple("x"), tuple("bag")]
VOCABULARY = vocabulary("abceg")


def tiny():
    torch.manual_seed(1)
    return GPT(len(VOCABULARY), d_model=16, heads=2).eval()


def test_an_epoch_has_every_sentence_once_and_no_padding_where_lengths_agree():
    sentences = SENTENCES * 24 + [("a",) * 9]
    whole = [to_ids([" ".join(words)], VOCABULARY)[0].tolist() for words in sentences]
    epochs = [[ids.tolist() for ids in batches(sentences, VOCABULARY)] for _ in range(5)]
    for epoch in epochs:
        assert sorted(sum(epoch, [])) == sorted(whole) and [1, 3, 2] in whole  # x is unknown
    assert len({str(epoch) for epoch in epochs}) > 1  # in another order


def test_outputs_and_gradients_equal_those_of_the_encoder_of_torch_under_a_causal_mask():
    model, ids = tiny(), torch.randint(3, 9, (3, 7))
    layer = nn.TransformerEncoderLayer(16, 2, 64, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    ours, theirs = nn.ModuleDict({"encoder": model.layers}), nn.ModuleDict({"encoder": encoder})
    theirs.load_state_dict(as_theirs(ours.named_parameters()))
    embedding = model.embedding.weight.detach().clone().requires_grad_()
    x = 4 * embedding[ids] + positions(7, 16)  # 4 is the root of 16
    expected = encoder(x, torch.ones(7, 7).triu(1).bool()) @ embedding.T
    logits = model(ids)
    assert_close(logits, expected)
    for output in logits, expected:
        output.square().mean().backward()
    gradients = as_theirs((name, weight.grad) for name, weight in ours.named_parameters())
    for name, weight in theirs.named_parameters():
        assert_close(gradients[name], weight.grad, rtol=1e-4, atol=1e-6)
    assert_close(model.embedding.weight.grad, embedding.grad, rtol=1e-4, atol=1e-6)


def test_the_loss_of_a_padded_batch_is_that_of_its_sentences():
    model, rows, parts = tiny(), [" ".join(words) for words in SENTENCES], []
    for row in rows:
        ids = to_ids([row], VOCABULARY)
        parts.append(cross_entropy(model(ids[:, :-1])[0], ids[0, 1:], reduction="none"))
    expected = torch.cat(parts)
    assert_close(losses(model, to_ids(rows, VOCABULARY)), expected)
    perplexity = evaluate(model.train(), SENTENCES * 6, VOCABULARY)
    assert perplexity == pytest.approx(expected.mean().exp().item(), rel=1e-5)


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


def test_a_short_run_is_better_than_the_unigram(monkeypatch, capsys):
    """In this language the third word is the first one again: only attention can know it."""
    sentences = [(a, b, a, c) for a in "abcdefgh" for b in "ijklmno" for c in "pqr"]
    random.Random(0).shuffle(sentences)
    monkeypatch.setattr(gpt, "corpus", lambda: (sentences[:126], [("z",) * 5]))
    assert "z" not in main(epochs=1)["vocabulary"]  # which is of the training set
    monkeypatch.setattr(gpt, "corpus", lambda: (sentences[:126], sentences[126:]))
    monkeypatch.setattr(gpt, "SIZE", 6)
    first, same, other = (main(epochs=1, seed=seed)["perplexity"] for seed in (3, 3, 4))
    assert first == same != other
    capsys.readouterr()
    result = main(epochs=20, prompt="B k", temperature=0.1)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"held-out perplexity {result['perplexity']:.1f}"
    again = evaluate(result["model"], sentences[126:], result["vocabulary"])
    assert result["perplexity"] == pytest.approx(again, rel=1e-5)
    assert re.fullmatch("<bos> b k b [pqr] <eos>", printed[1])
    best = (8 * 7 * 3) ** (1 / 5)  # of five predictions two are certain
    assert best * 0.97 < result["perplexity"] < best * 1.2


def test_training_has_dropout_and_a_learning_rate_that_rises_and_falls():
    def watched():
        for _ in range(30):
            seen.append(model.embedding.weight.detach().clone())
            yield ids

    model, seen, ids = tiny(), [], to_ids(["a b c", "a b", "c a b"], VOCABULARY)
    train(model, watched(), 30)
    steps = torch.stack([*seen, model.embedding.weight]).diff(dim=0).abs().amax((1, 2))
    assert max(steps[0], steps[-1]) < 0.0003 < 0.002 < steps.max() < 0.004
    assert not torch.equal(model(ids), model(ids))
    assert not GPT(9, dropout=1.0)(ids).any()  # nothing is left of the embeddings


@pytest.mark.promise
def test_better_than_the_feed_forward_network_and_the_trigram():
    """The numbers of the table in the README of 04, with the whole default run."""
    from ff_lm import build_vocabulary, corpus, windows
    from trigram import kneser_ney

    result, (training, test) = main(), corpus()
    vocabulary = build_vocabulary(training)
    rows, test_rows = (windows(part, vocabulary, 2).tolist() for part in (training, test))
    trigram = kneser_ney([*map(tuple, rows)], [*map(tuple, test_rows)], len(vocabulary))
    ids = [to_ids([" ".join(words)], result["vocabulary"]) for words in test]
    with torch.no_grad():
        p = torch.cat([losses(result["model"], row) for row in ids]).neg().exp()
    mixture = ((p + torch.tensor(trigram)) / 2).log().mean().neg().exp().item()
    print(mixture)
    page = (Path(gpt.__file__).parents[1] / "04_ff_lm" / "README.md").read_text("utf-8")
    shown = re.search(r"^\| \[?GPT.*? \| ([\d.]+) \|", page, re.M)[1]
    assert result["perplexity"] == pytest.approx(float(shown), abs=2)
    assert result["perplexity"] < 103.9 and mixture < 86.2
