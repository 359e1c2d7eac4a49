import importlib.util
import re
from pathlib import Path

import bert
import pytest
import torch
from bert import MASK, PAD, SEP, Bert, batches, evaluate, mask_tokens, read_pairs
from test_bert_recipes import animals, readme_file
from torch.nn.functional import cross_entropy, pad
from transformers import BertConfig, BertForPreTraining


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return animals(tmp_path_factory.mktemp("text") / "animals.txt")


@pytest.fixture(scope="module")
def pairs(text):
    return read_pairs(text)[0]


@pytest.fixture(scope="module")
def tokenizer(pairs):
    return bert.train_tokenizer([a for a, _, _ in pairs], 120, 40)


@pytest.fixture
def batch(pairs, tokenizer):
    torch.manual_seed(1)
    return next(batches(pairs, tokenizer, "cpu", 16))


def loss_of(model, inputs, targets):
    return sum(map(cross_entropy, model(*inputs), targets))


# %% model
def test_parity_with_hugging_face(tokenizer, batch, tmp_path):
    """Outputs and gradients, through the recipe for the real weights; ε counts, as x is small."""
    recipe = readme_file("real_bert.py", tmp_path)
    sizes = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    sizes |= dict(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=50)
    theirs = BertForPreTraining(BertConfig(**sizes)).eval()  # without dropout
    for name, parameter in theirs.named_parameters():
        noisy = parameter + 0.1 * torch.randn_like(parameter)  # biases are not 0, scales not 1
        parameter.data = noisy * (1e-2 if "_embeddings" in name else 1)
    ours, ((masked, segments, is_target), (words, is_random)) = recipe["convert"](theirs), batch
    assert (masked == PAD).any() and segments.any() and 0 < is_random.sum() < 16
    out = theirs(masked, attention_mask=(masked != PAD).long(), token_type_ids=segments)
    expected = out.prediction_logits[is_target], out.seq_relationship_logits
    torch.testing.assert_close(ours(*batch[0]), expected, atol=1e-5, rtol=1e-4)
    (cross_entropy(expected[0], words) + cross_entropy(expected[1], is_random)).backward()
    loss_of(ours, *batch).backward()
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    for name, parameter in theirs.named_parameters():
        ours_is = gradients.pop(recipe["our_name"](name))
        torch.testing.assert_close(ours_is, parameter.grad, atol=1e-5, rtol=1e-3, msg=name)
        if not name.endswith("key.bias"):  # a shift of all scores alike: softmax ignores it
            assert ours_is.abs().sum() > 1e-4, name
    assert not gradients


def test_attention_is_that_of_05(monkeypatch):
    path = Path(__file__).parents[1] / "05_transformer" / "transformer.py"
    spec = importlib.util.spec_from_file_location("transformer_05", path)
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    layer, x, mask = bert.Layer(8, 2, 12), torch.randn(3, 5, 8), torch.rand(3, 1, 1, 5) < 0.4
    mask[..., 0] = False
    expected = layer(x, mask)
    by_05 = lambda q, k, v, keep: module.attention(q, k, v, ~keep)[0]  # noqa: E731
    monkeypatch.setattr(bert, "scaled_dot_product_attention", by_05)
    torch.testing.assert_close(layer(x, mask), expected)
    assert not torch.allclose(layer(x, ~mask), expected)


def test_padding_and_words_that_are_no_targets_change_nothing(tokenizer, batch):
    model, (inputs, targets) = Bert(tokenizer.get_vocab_size(), 16, 2, max_len=50), batch
    wide = [pad(tensor, (0, 9)) for tensor in inputs]
    torch.testing.assert_close(loss_of(model, wide, targets), loss_of(model, *batch))
    masked, segments, is_target = inputs
    few = is_target & (torch.rand(is_target.shape) < 0.5)
    logits = model(*inputs)[0]
    torch.testing.assert_close(model(masked, segments, few)[0], logits[few[is_target]])
    assert len(logits) == is_target.sum() == len(targets[0])


# %% data
def test_masks_are_15_percent_of_words_80_10_10():
    torch.manual_seed(0)
    ids = torch.randint(0, 1000, (400, 500))  # one id in 200 is special
    masked, is_target = mask_tokens(ids, 1000)
    assert not is_target[ids <= MASK].any()
    assert torch.equal(masked[~is_target], ids[~is_target])
    changed = (masked != ids) & (masked != MASK)
    assert (masked[changed] > MASK).all() and masked.max() == 999
    assert is_target[ids > MASK].float().mean() == pytest.approx(0.15, abs=0.003)
    assert (masked[is_target] == MASK).float().mean() == pytest.approx(0.80, abs=0.005)
    assert changed[is_target].float().mean() == pytest.approx(0.10, abs=0.004)
    few, few_targets = mask_tokens(torch.full((400, 500), 5), 7)  # random ones are 5 or 6 only
    assert set(few[few_targets].tolist()) == {MASK, 5, 6}
    assert not torch.equal(mask_tokens(ids, 1000)[0], masked)  # drawn anew


def test_pairs_have_segments_and_lose_the_end_of_the_longer_side(pairs):
    tokenizer = bert.train_tokenizer([a for a, _, _ in pairs], 120, 12)
    short, long = "the cat eats", "apples at cow dog fish bird horse sees"
    corpus = [(short, long, 0), (long.title(), short.upper(), 1)]
    kept = {f"[CLS] {short} [SEP] {long[:27]} [SEP]", f"[CLS] {long[:27]} [SEP] {short} [SEP]"}
    found = set()
    for (masked, segments, is_target), (words, _) in batches(corpus, tokenizer, "cpu", 1):
        ids = masked.masked_scatter(is_target, words)[0].tolist()
        middle = ids.index(SEP)
        assert segments[0].tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        found.add(tokenizer.decode(ids, skip_special_tokens=False))
    assert kept == found


# %% evaluation and training
def test_metrics_by_hand():
    """Of two batches with 3 targets and 1, each target counts alike."""
    half, eighth = torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.125, 0.75, 0.125]).log()
    outputs = iter([(half.expand(3, 3), torch.eye(2)), (eighth[None], torch.eye(2)[:1])])
    held_out = [((), (torch.tensor([0, 0, 2]), torch.tensor([1, 1])))]
    held_out += [((), (torch.tensor([0]), torch.tensor([1])))]
    by_hand = dict(mlm_accuracy=2 / 4, mlm_perplexity=(2 * 2 * 4 * 8) ** 0.25, mlm_majority=3 / 4)
    by_hand |= dict(unigram_perplexity=(4**4 / 27) ** 0.25, nsp_accuracy=1 / 3, nsp_majority=1)
    assert evaluate(lambda: next(outputs), held_out) == pytest.approx(by_hand)


def test_both_losses_train_at_a_rate_that_rises_and_falls(tokenizer, batch, monkeypatch):
    rates, gradients, step = [], [], torch.optim.AdamW.step

    def spy(adam, *arguments):
        rates.append(adam.param_groups[0]["lr"])
        assert adam.param_groups[0]["betas"] == (0.9, 0.999)
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        return step(adam, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    model = Bert(tokenizer.get_vocab_size(), 16, 2)
    expected = torch.autograd.grad(loss_of(model, *batch), list(model.parameters()))
    curve = bert.train(model, ([batch] * 10 for _ in range(2)), 20, [batch])
    torch.testing.assert_close(gradients[0], list(expected))
    peak = rates.index(max(rates))
    assert 2 < peak < 10 and max(rates) > 2.5e-3 and rates[-1] < rates[0] < 2e-4
    assert rates == sorted(rates[:peak]) + sorted(rates[peak:], reverse=True)
    assert curve[20]["mlm_perplexity"] < curve[1]["mlm_perplexity"] and len(curve) == 20


def test_short_run_learns_the_same_every_time(text, tmp_path, capsys):
    options = dict(text=text, device="cpu", figure=tmp_path / "f.png")
    fill = ("[MASK] cat eats", "The dog eats 3 apples at 4 o'[MASK]")
    result = bert.main(epochs=12, fill=fill, **options)
    assert result["mlm_majority"] + 0.2 < result["mlm_accuracy"] < 0.5
    printed = capsys.readouterr().out
    assert re.search(r"eats -> the 0\.", printed) and re.search(r"o'\[MASK\] -> .*clock", printed)
    runs = [(bert.main(epochs=1, seed=s, **options), capsys.readouterr().out) for s in (0, 0, 1)]
    assert runs[0][1] == runs[1][1] != runs[2][1]
    for name in "mlm_majority", "unigram_perplexity", "nsp_majority":  # the same test set
        assert runs[0][0][name] == runs[2][0][name] == result[name]
