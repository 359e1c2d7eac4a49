"""The Transformer equals PyTorch's own, its masks hide what they must, and it decodes."""

import itertools
import math

import pytest
import torch
import transformer as t
from beam_search import beam_search
from torch import nn
from torch.testing import assert_close

SRC = torch.tensor([[1, 5, 6, 7, 2, 0, 0], [1, 8, 9, 4, 10, 5, 2]])
TGT = torch.tensor([[1, 6, 7, 8, 9], [1, 12, 4, 0, 0]])
NAMES = {"encoder.": "encoder.layers.", "decoder.": "decoder.layers.", "W_o": "out_proj"}
NAMES |= {"self_attention": "self_attn", "cross_attention": "multihead_attn"}
NAMES |= {"ffn.0": "linear1", "ffn.2": "linear2", "self_norm": "norm1", "cross_norm": "norm2"}
NAMES |= {"W_q.": "in_proj_", "W_k.": "in_proj_", "W_v.": "in_proj_"}


def tiny(**sizes):
    torch.manual_seed(1)
    sizes = dict(src_vocab=11, tgt_vocab=13, d_model=16, heads=2, layers=2) | sizes
    return t.Transformer(**sizes).eval()


def vocabulary(words):
    return {w: i for i, w in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *words])}


WORDS = vocabulary("abcdefg"), vocabulary("x")


def as_theirs(tensors):
    """Tensors of our layers by the names of torch.nn.Transformer, which stacks W_q, W_k and W_v."""
    found = {}
    for name, tensor in tensors:
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        name = name.replace("ffn_norm", "norm2" if "encoder" in name else "norm3")
        found.setdefault(name, []).append(tensor)
    return {name: torch.cat(parts) for name, parts in found.items() if "layers" in name}


def test_outputs_and_gradients_equal_those_of_torch():
    model, theirs = tiny(dropout=0), nn.Transformer(16, 2, 2, 2, 64, dropout=0, batch_first=True)
    theirs.encoder.norm = theirs.decoder.norm = None  # the paper has none at the end of a stack
    theirs.load_state_dict(as_theirs(model.state_dict().items()))
    own = model.src_embedding.weight, model.tgt_embedding.weight
    embeddings = [weight.detach().clone().requires_grad_() for weight in own]
    x, y = (w[ids] * 4 + t.positions(ids.size(1), 16) for w, ids in zip(embeddings, (SRC, TGT)))
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


def test_attention_by_hand():
    """The README's example: scores ln 3 and 0 give weights 3/4 and 1/4."""
    q, k, v = torch.tensor([[2 * math.log(3), 0, 0, 0]]), torch.eye(2, 4), torch.eye(2) * 4
    outputs, weights = t.attention(q, k, v * torch.tensor([1, 2]), torch.tensor([[False, False]]))
    assert_close((weights, outputs), (torch.tensor([[0.75, 0.25]]), torch.tensor([[3.0, 2.0]])))
    assert t.attention(q, k, k, torch.tensor([[False, True]]))[1].tolist() == [[1, 0]]


def test_positions_are_the_formula_of_the_paper():
    for pos, i in itertools.product((0, 1, 50, 2999), range(8)):
        angle = pos / 10000 ** (2 * i / 16)
        sine, cosine = t.positions(3000, 16)[pos, 2 * i : 2 * i + 2].tolist()
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


def test_dropout_acts_on_the_embeddings_and_on_each_part_of_a_layer():
    """With dropout 1 nothing is left of them; a layer has only its residual connections."""
    model, x, mask = tiny(dropout=1.0).train(), torch.randn(2, 5, 16), torch.zeros(5, 5).bool()
    assert not model.embed(model.src_embedding, SRC).any()
    for layer in *model.encoder, *model.decoder:
        left = layer(x, mask, x + 1, mask)
        assert_close(left, nn.functional.layer_norm(x, [16]), rtol=1e-4, atol=1e-4)


def test_words_are_embedded_about_as_large_as_their_positions():
    model, ids = t.Transformer(400, 400).eval(), torch.arange(400)[None]
    for embedding in model.src_embedding, model.tgt_embedding:
        words = model.embed(embedding, ids) - t.positions(400, 96)
        assert words.std().item() == pytest.approx(1, rel=0.03)


class Count(nn.Module):
    """In place of a Transformer: a, b, c and so on, up to the first word of the source."""

    def forward(self, src, tgt):
        assert not self.training and not torch.is_grad_enabled() and (tgt[:, 0] == t.BOS).all()
        following = (tgt + 1).clamp(4, 10)  # the ids of a to g
        following[tgt == src[:, 1:2]] = t.EOS
        return nn.functional.one_hot(following, 11).float()


def test_greedy_and_a_beam_of_one_append_the_likeliest_word_until_the_end():
    words = WORDS[0], WORDS[0]
    assert t.greedy(Count(), "c", words) == "a b c"
    assert t.greedy(Count(), "a b", words) == "a"
    assert t.greedy(Count(), "", words) == "a b c d e f g" + 42 * " g"
    ((_, translation),) = beam_search(Count(), "d", words, beam=1)
    assert translation == "a b c d" and len(beam_search(Count(), "d", words, beam=3)) == 3


def test_exact_match_counts_whole_translations():
    pairs = [("a", "a"), ("c", "a b c"), ("c", "a b"), ("b", "b a"), ("b", "a b c")]
    assert t.evaluate(Count(), pairs, (WORDS[0], WORDS[0])) == 0.4


@torch.no_grad()
def test_a_beam_that_covers_everything_is_exhaustive_search():
    model, scores = tiny(tgt_vocab=5), {}
    src = t.to_ids(["d e f g"], WORDS[0])
    for sentence in (s for n in range(4) for s in itertools.product([0, 1, 3, 4], repeat=n)):
        ids, text = [*sentence, t.EOS][:3], " ".join(list(WORDS[1])[i] for i in sentence)
        log_p = model(src, torch.tensor([[t.BOS, *ids]])).log_softmax(-1)[0]
        scores[text] = log_p[range(len(ids)), ids].mean().item()
    found = beam_search(model, "d e f g", WORDS, beam=500, longest=4)
    assert {text: score for score, text in found} == pytest.approx(scores, abs=1e-5)
    assert found == sorted(found, reverse=True)
