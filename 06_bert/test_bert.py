"""The model, its losses and its training."""

import copy
import re

import bert
import pytest
import torch
from bert import MASK, PAD, Bert
from real_bert import convert, our_name
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import OneCycleLR
from transformers import BertConfig, BertForPreTraining


def animals(path):
    """401 sentences: animals eat and seldom see or take; one word is in the test set only."""
    nouns, verbs = "cat dog bird fish horse cow".split(), "eats eats eats sees takes".split()
    places = ((d, s) for d in range(40) for s in range(10))
    lines = [f"The {nouns[d % 6]} {verbs[s % 5]} {d} apples at {s} o'clock.\n" for d, s in places]
    path.write_text("A unicorn.\n" + "".join(lines), encoding="utf-8")
    return path


@pytest.fixture
def batch():
    """Four pairs of ids 5 to 29, of different lengths."""
    torch.manual_seed(1)
    ids = torch.randint(5, 30, (4, 12))
    for row, length in enumerate([12, 9, 10, 7]):
        ids[row, length:] = PAD
    segments = (torch.arange(12) > 5) & (ids != PAD)
    masked, is_target = bert.mask_tokens(ids, 30)
    return (masked, segments.long(), is_target), ids[is_target], torch.tensor([0, 1, 1, 0])


def loss_of(model, inputs, words, is_random):
    word_logits, pair_logits = model(*inputs)
    return cross_entropy(word_logits, words) + cross_entropy(pair_logits, is_random)


def trained_by_hand(model, steps):
    """Trains a model on the mean loss of the batches of each step."""
    adam = torch.optim.AdamW(model.parameters())
    schedule = OneCycleLR(adam, max_lr=3e-3, total_steps=len(steps), cycle_momentum=False)
    for batches in steps:
        adam.zero_grad()
        (sum(loss_of(model, *batch) for batch in batches) / len(batches)).backward()
        adam.step()
        schedule.step()
    return model


def test_parity_with_hugging_face(batch):
    """Outputs and gradients; the embeddings are small, so that the ε of the norms counts."""
    sizes = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    theirs = BertForPreTraining(BertConfig(vocab_size=30, max_position_embeddings=50, **sizes))
    theirs.eval()  # without dropout
    for name, parameter in theirs.named_parameters():
        noisy = parameter + 0.1 * torch.randn_like(parameter)  # biases are not 0, scales not 1
        parameter.data = noisy * (1e-2 if "_embeddings" in name else 1)
    ours, ((masked, segments, is_target), words, is_random) = convert(theirs), batch
    out = theirs(masked, attention_mask=(masked != PAD).long(), token_type_ids=segments)
    expected = out.prediction_logits[is_target], out.seq_relationship_logits
    torch.testing.assert_close(ours(*batch[0]), expected, atol=1e-5, rtol=1e-4)
    (cross_entropy(expected[0], words) + cross_entropy(expected[1], is_random)).backward()
    loss_of(ours, *batch).backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        gradient = gradients.pop(our_name(name))
        torch.testing.assert_close(gradient, parameter.grad, atol=1e-5, rtol=1e-3, msg=name)
    assert not gradients


def test_masks_are_15_percent_of_words_80_10_10():
    torch.manual_seed(0)
    ids = torch.randint(0, 10, (1000, 1000))  # of ten ids, five are special
    masked, is_target = bert.mask_tokens(ids, 10)
    assert not is_target[ids <= MASK].any() and torch.equal(masked[~is_target], ids[~is_target])
    changed = (masked != ids) & (masked != MASK)
    assert set(masked[changed].tolist()) == {5, 6, 7, 8, 9}
    assert is_target[ids > MASK].float().mean() == pytest.approx(0.15, abs=0.003)
    assert (masked[is_target] == MASK).float().mean() == pytest.approx(0.80, abs=0.005)
    assert changed[is_target].float().mean() == pytest.approx(0.08, abs=0.004)  # a fifth is equal


def test_accuracies_by_hand():
    logits = torch.eye(3)[[0, 1, 1, 2]], torch.eye(2)[[0, 1, 1]]
    words, is_random = torch.tensor([0, 1, 2, 2]), torch.tensor([1, 1, 1])
    found = bert.evaluate(lambda: logits, (), words, is_random)
    by_hand = {"masked words": 3 / 4, "most frequent word": 2 / 4}
    assert found == pytest.approx(by_hand | {"next sentence": 2 / 3, "majority class": 1})


def test_training_is_adamw_on_both_losses_along_one_cycle(batch):
    torch.manual_seed(0)
    model, steps = Bert(30, 16, 2), 60
    reference = trained_by_hand(copy.deepcopy(model), [[batch]] * steps)
    curve = bert.train(model, [batch] * steps, steps, batch)
    assert list(curve) == [50, 60]
    assert curve[60]["masked words"] == curve[60]["next sentence"] == 1
    for ours, expected in zip(model.parameters(), reference.parameters()):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("width, deviation", [(768, 0.02), (48, 0.08)])
def test_the_initial_deviation_is_that_of_the_paper_at_its_width(width, deviation):
    weight = Bert(1000, width, 12, 1).words.weight
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)


def test_a_short_run_learns_the_same_every_time(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bert, "__file__", str(tmp_path / "bert.py"))  # beside it is the figure
    text = animals(tmp_path / "text.txt")
    fill = "[MASK] cat [MASK]", "No mask."
    result = bert.main(text, epochs=20, fill=fill)
    assert result["most frequent word"] + 0.2 < result["masked words"] < 0.8
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"masked words: accuracy {result['masked words']:.3f}"
    ids = torch.tensor([result["tokenizer"].encode(fill[0]).ids])
    logits, _ = result["model"](ids, torch.zeros_like(ids), ids == MASK)
    found = [re.findall(r"0\.\d\d", line) for line in lines[5:7]]
    assert found == [[f"{p:.2f}" for p in row] for row in logits.softmax(1).topk(5).values]
    assert re.match("  the 0.9", lines[5]) and re.match("  eats 0", lines[6])
    assert (lines[4], *lines[7:]) == fill

    training, test = bert.read_pairs(text)  # the tokenizer knows the first, the metrics the second
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b in training])
    assert result["tokenizer"].get_vocab() == tokenizer.get_vocab()
    torch.manual_seed(0)  # whatever the seed of the run
    metrics = bert.evaluate(result["model"], *next(bert.batches(test, tokenizer, 2048)))
    assert metrics == {name: result[name] for name in metrics}

    runs = [(bert.main(text, epochs=1, seed=s), capsys.readouterr().out) for s in (0, 0, 1)]
    assert runs[0][1] == runs[1][1] != runs[2][1]
    assert runs[0][0]["majority class"] == runs[2][0]["majority class"]
