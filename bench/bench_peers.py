"""Training with the models of 03, 05 and 06, and with the implementations that people use.

Both get the same batches and have the same sizes. 05 and 06 train by the loop of our file; gensim
has its own. That both compute the same is tested in the folders of the models. Everything runs on
one thread of the CPU.
"""

import math
import sys
from itertools import groupby, islice
from pathlib import Path

import pytest
import torch
from harness import now
from torch import nn

pytestmark = pytest.mark.benchmark(timer=now, max_time=2, min_rounds=5, disable_gc=True)
for folder in "03_skipgram", "05_transformer", "06_bert":
    sys.path.append(str(Path(__file__).parents[1] / folder))

CLAIMS = [  # topic, what is said, sizes, variants, where the ratio of the two rows should be
    ("skip-gram", "note: gensim, which is written in C, is faster", "03", "ours / gensim", ">= 1"),
    ("Transformer", "note: PyTorch's is not faster", "05", "ours / torch.nn.Transformer", "<= 1"),
    ("BERT", "note: Hugging Face's is not faster", "06", "ours / BertForPreTraining", "<= 1"),
    ("BERT", "note: nor is ours without fused attention", "06", "ours / attention of 05", "<= 1"),
]


def measure(benchmark, train, **row):
    torch.set_num_threads(1)
    benchmark.group = row["topic"]
    benchmark.extra_info.update(row, device="cpu", against="ours")
    benchmark(train)


@pytest.mark.parametrize("variant", ["ours", "gensim"])
def test_skipgram(benchmark, variant):
    """An epoch on a part of the docstrings: vectors of length 100, windows of up to 5 words."""
    import skipgram

    text = "\n\n".join(islice(skipgram.docstrings(), 1000))
    vocabulary, ids = skipgram.encode(text)
    words = ids.count_nonzero().item()  # 0 is a boundary
    row = dict(topic="skip-gram", size="03", number=words, variant=variant)
    if variant == "ours":
        model = skipgram.SkipGram(len(vocabulary))
        steps = math.ceil(len(ids) / skipgram.SIZE)

        def train():
            skipgram.train(model, skipgram.batches(ids), steps)

    else:
        gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")
        passages = groupby(ids.tolist(), key=bool)
        corpus = [[str(word) for word in passage] for is_word, passage in passages if is_word]
        model = gensim.Word2Vec(sg=1, vector_size=100, min_count=1, workers=1)
        model.build_vocab(corpus)

        def train():
            model.train(corpus, total_examples=len(corpus), epochs=1)

    measure(benchmark, train, **row)


class TorchTransformer(nn.Module):
    """torch.nn.Transformer between the embeddings of ours. It has dropout in more places."""

    def __init__(self, ours, d_model=96, heads=4, d_ff=384, layers=2):
        super().__init__()
        self.ours = ours
        self.layers = nn.Transformer(d_model, heads, layers, layers, d_ff, batch_first=True)

    def forward(self, src, tgt):
        x = self.ours.embed(self.ours.src_embedding, src)
        y = self.ours.embed(self.ours.tgt_embedding, tgt)
        future = torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool).triu(1)
        padding = src == 0
        y = self.layers(x, y, None, future, None, padding, None, padding)
        return y @ self.ours.tgt_embedding.weight.T


@pytest.mark.parametrize("variant", ["ours", "torch.nn.Transformer"])
def test_transformer(benchmark, variant):
    """Batches of 64 pairs of 12 words."""
    import transformer

    model = transformer.Transformer(1000, 1000)
    if variant != "ours":
        model.encoder = model.decoder = None
        model = TorchTransformer(model)
    batches = list(torch.randint(4, 1000, (10, 2, 64, 12)))
    row = dict(topic="Transformer", size="05", number=64, variant=variant)
    measure(benchmark, lambda: transformer.train(model, batches, 10, 1e-3), **row)


class HuggingFace(nn.Module):
    """BertForPreTraining with the inputs and outputs of ours. It has logits of all words."""

    def __init__(self, vocab, d_model=96, heads=4, layers=2, d_ff=384):
        from transformers import BertConfig, BertForPreTraining

        super().__init__()
        config = BertConfig(vocab_size=vocab, hidden_size=d_model, intermediate_size=d_ff)
        config.num_hidden_layers, config.num_attention_heads = layers, heads
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0  # ours has none
        self.bert = BertForPreTraining(config)

    def forward(self, ids, segments, is_target):
        outputs = self.bert(ids, ids > 0, segments)
        return outputs.prediction_logits[is_target], outputs.seq_relationship_logits


@pytest.mark.parametrize("variant", ["ours", "BertForPreTraining", "attention of 05"])
def test_bert(benchmark, variant, monkeypatch):
    """Batches of 128 pairs of sentences, 44 tokens together."""
    import bert
    import transformer

    def attention(q, k, v, shown):
        return transformer.attention(q, k, v, ~shown)[0]

    if variant == "attention of 05":
        monkeypatch.setattr(bert, "scaled_dot_product_attention", attention)
    model = HuggingFace(3000) if variant == "BertForPreTraining" else bert.Bert(3000)
    batches = []
    for ids in torch.randint(5, 3000, (3, 128, 44)):
        masked, is_target = bert.mask_tokens(ids, 3000)
        segments = (torch.arange(44) > 21).long().expand_as(ids)
        is_random = torch.randint(2, (128,))
        batches.append(((masked, segments, is_target), ids[is_target], is_random))
    row = dict(topic="BERT", size="06", number=128, variant=variant)
    # three steps of four: the last one would be followed by an evaluation
    measure(benchmark, lambda: bert.train(model, batches, 4, held_out=None), **row)
