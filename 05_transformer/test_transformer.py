"""The Transformer equals PyTorch's own, its masks hide what they must, and it decodes."""

import itertools
import math
import re
from pathlib import Path

import pytest
import torch
import transformer as t
from torch import nn
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
        # a shift of all keys shifts all scores of a query alike: the softmax ignores it
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


@torch.no_grad()
def test_greedy_appends_the_likeliest_word_until_the_end():
    model, words = tiny(tgt_vocab=5), [vocabulary("abcdefg"), vocabulary("x")]
    for source in "a b", "c", "d e f g":
        output = t.greedy(model.train(), source, words)
        src, tgt = t.to_ids([source], words[0], "cpu"), t.to_ids([output], words[1], "cpu")
        end = tgt.size(1) - (tgt.size(1) > 50)  # it may have stopped at the limit
        assert torch.equal(model.eval()(src, tgt)[:, : end - 1].argmax(-1), tgt[:, 1:end])


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
