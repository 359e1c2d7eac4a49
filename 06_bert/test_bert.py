import math
import shutil
import subprocess
import sys
from pathlib import Path

import bert
import pytest
import torch
from bert import CLS, MASK, PAD, SEP, UNK, Bert, batches, evaluate, mask_tokens, read_sentences
from tokenizers import BertWordPieceTokenizer
from torch.nn.functional import cross_entropy

NOUNS = "cat dog bird fish horse cow".split()
SMALL = dict(vocab=40, d_model=16, heads=2, layers=2, d_ff=24, max_len=20)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """30 documents about one noun each, which nearly always eats and seldom sleeps."""
    path = tmp_path_factory.mktemp("text") / "animals.txt"
    verbs = "eats", "eats", "eats", "sees", "takes"
    documents = [
        "\n".join(
            f"The {NOUNS[d % 6]} {verbs[s % 5]} {d} apples at {s} o'clock." for s in range(10)
        )
        for d in range(30)
    ]
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def sentences(documents=12, vocab=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 12, (documents, 6), generator=g).tolist()
    return [
        (d, torch.randint(5, vocab, (n,), generator=g).tolist())
        for d, row in enumerate(lengths)
        for n in row
    ]


def loss_of(model, batch):
    masked, segments, chosen, words, strangers = batch
    logits, pairs = model(masked, segments, chosen)
    return cross_entropy(logits, words) + cross_entropy(pairs, strangers)


def reference(model):
    """Hugging Face's BertForPreTraining with the weights of ours."""
    from transformers import BertConfig, BertForPreTraining

    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    config = BertConfig(
        vocab_size=40,
        max_position_embeddings=20,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **sizes,
    )
    theirs = BertForPreTraining(config)
    names = {
        "tables.0": "bert.embeddings.word_embeddings",
        "tables.1": "bert.embeddings.position_embeddings",
        "tables.2": "bert.embeddings.token_type_embeddings",
        "norms.0": "bert.embeddings.LayerNorm",
        "norms.1": "cls.predictions.transform.LayerNorm",
        "dense": "cls.predictions.transform.dense",
        "pooler": "bert.pooler.dense",
        "next_sentence": "cls.seq_relationship",
    }
    for i in range(2):
        ours, its = f"layers.{i}", f"bert.encoder.layer.{i}"
        for a, b in zip(("W_q", "W_k", "W_v"), ("query", "key", "value"), strict=True):
            names[f"{ours}.self_attention.{a}"] = f"{its}.attention.self.{b}"
        names[f"{ours}.self_attention.W_o"] = f"{its}.attention.output.dense"
        names[f"{ours}.norms.0"] = f"{its}.attention.output.LayerNorm"
        names[f"{ours}.ffn.0"] = f"{its}.intermediate.dense"
        names[f"{ours}.ffn.2"] = f"{its}.output.dense"
        names[f"{ours}.norms.1"] = f"{its}.output.LayerNorm"
    pairs = {
        name: f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}"
        for name, _ in model.named_parameters()
        if name != "bias"
    }
    pairs["bias"] = "cls.predictions.bias"
    its = dict(theirs.named_parameters())
    assert set(pairs.values()) == set(its)  # nothing of theirs is left without a counterpart
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            its[pairs[name]].copy_(parameter)
    return theirs, {name: its[pairs[name]] for name in pairs}


def test_parity_with_hugging_face():
    torch.manual_seed(0)
    model = Bert(**SMALL)
    theirs, its = reference(model)
    masked, segments, chosen, words, strangers = next(batches(sentences(), 40, 20, "cpu", 16))
    assert (masked == PAD).any() and segments.any() and 0 < strangers.sum() < 16
    logits, pairs = model(masked, segments, chosen)
    out = theirs(masked, attention_mask=(masked != PAD).long(), token_type_ids=segments)
    torch.testing.assert_close(logits, out.prediction_logits[chosen], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pairs, out.seq_relationship_logits, atol=1e-5, rtol=1e-4)
    loss = cross_entropy(out.prediction_logits[chosen], words)
    (loss + cross_entropy(out.seq_relationship_logits, strangers)).backward()
    (cross_entropy(logits, words) + cross_entropy(pairs, strangers)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, its[name].grad, atol=1e-5, rtol=1e-4, msg=name)
        if not name.endswith("W_k.bias"):  # a shift of all scores alike: softmax ignores it
            assert parameter.grad.abs().sum() > 1e-4, name


def test_masks_are_15_percent_of_words_80_10_10():
    torch.manual_seed(0)
    ids = torch.randint(0, 1000, (400, 500))  # one id in 200 is special
    masked, chosen = mask_tokens(ids, 1000)
    assert not chosen[ids <= MASK].any()
    assert torch.equal(masked[~chosen], ids[~chosen])
    changed = (masked != ids) & (masked != MASK)
    assert (masked[changed] > MASK).all() and masked.max() == 999
    assert chosen[ids > MASK].float().mean() == pytest.approx(0.15, abs=0.003)
    assert (masked[chosen] == MASK).float().mean() == pytest.approx(0.80, abs=0.008)
    assert changed[chosen].float().mean() == pytest.approx(0.10, abs=0.006)
    few, chosen_few = mask_tokens(torch.full((400, 500), 5), 7)  # random ones are 5 or 6 only
    assert (few[chosen_few] == MASK).float().mean() == pytest.approx(0.80, abs=0.008)
    again, _ = mask_tokens(ids, 1000)
    assert not torch.equal(again, masked)  # drawn afresh


def test_pairs_of_a_whole_epoch():
    torch.manual_seed(0)
    corpus = [(d, [5 + 20 * d + 3 * s, 6 + 20 * d + 3 * s]) for d in range(10) for s in range(6)]
    home = {tuple(ids): (d, i) for i, (d, ids) in enumerate(corpus)}
    found = []
    drawn = [batch for _ in range(9) for batch in batches(corpus, 2000, 16, "cpu", 7)]
    for masked, segments, chosen, words, strangers in drawn:
        ids = masked.masked_scatter(chosen, words).tolist()
        for row, segment, stranger in zip(ids, segments.tolist(), strangers.tolist(), strict=True):
            first, a1, a2, middle, b1, b2, last, *padding = row
            assert (first, middle, last, sum(padding)) == (CLS, SEP, SEP, 0)
            assert segment[:7] == [0, 0, 0, 0, 1, 1, 1]
            (doc_a, i), (doc_b, j) = home[a1, a2], home[b1, b2]
            assert (doc_a != doc_b) if stranger else (doc_a == doc_b and j == i + 1)
            found.append((i, stranger))
    assert sorted(i for i, _ in found) == sorted(9 * [i for i in range(59) if i % 6 < 5])
    assert sum(s for _, s in found) / 450 == pytest.approx(0.5, abs=0.1)


def test_a_repeated_next_sentence_is_no_stranger():
    twice = [(0, [7, 8]), (0, [9]), (1, [9]), (1, [10, 11])]
    for _ in range(30):
        for masked, _, chosen, words, strangers in batches(twice, 20, 10, "cpu", 1):
            row = masked.masked_scatter(chosen, words)[0].tolist()
            assert not strangers[0] or row not in ([2, 7, 8, 3, 9, 3], [2, 9, 3, 10, 11, 3])


def test_long_pairs_lose_the_end_of_the_longer_side():
    short, long = list(range(10, 13)), list(range(20, 40))
    torch.manual_seed(0)
    for first, second in ((short, long), (long, short)):
        corpus = [(0, first), (0, second), (1, first), (1, second)]
        kept = [CLS, *first[:6], SEP, *second[:6], SEP]
        drawn = [batch for _ in range(9) for batch in batches(corpus, 50, 12, "cpu", 1)]
        found = []
        for masked, segments, chosen, words, _ in drawn:
            found.append(masked.masked_scatter(chosen, words)[0].tolist())
            assert len(found[-1]) <= 12 and segments.sum() == len(found[-1]) - 1 - found[-1].index(
                SEP
            )
        assert kept in found


def test_padding_and_unchosen_words_change_nothing():
    torch.manual_seed(1)
    model = Bert(**SMALL | {"max_len": 30})
    batch = next(batches(sentences(), 40, 20, "cpu", 8))
    masked, segments, chosen, words, strangers = batch
    wide = [torch.nn.functional.pad(t, (0, 9)) for t in (masked, segments, chosen)]
    for a, b in zip(model(*wide), model(masked, segments, chosen), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    few = chosen & (torch.rand(chosen.shape) < 0.5)
    torch.testing.assert_close(
        model(masked, segments, few)[0], model(masked, segments, chosen)[0][few[chosen]]
    )
    model.dropout.p = 0.5
    assert evaluate(model.train(), [batch]) == evaluate(model.train(), [batch])


def test_attention_by_hand():
    eye = torch.eye(2) * math.log(3) * 2**0.5
    output, weights = bert.attention(
        eye[None], torch.eye(2)[None], torch.tensor([[[8.0], [4.0]]]), torch.tensor([False, False])
    )
    torch.testing.assert_close(weights[0], torch.tensor([[0.75, 0.25], [0.25, 0.75]]))
    torch.testing.assert_close(output[0], torch.tensor([[7.0], [5.0]]))


def test_docstrings_are_english_without_repeats():
    corpus = read_sentences(None)
    words = sum(len(s.split()) for _, s in corpus)
    assert 500_000 < words < 1_000_000 and 40_000 < len(corpus) < 70_000
    assert len({s.lower() for _, s in corpus}) == len(corpus)
    assert all(s[0].isupper() and s[-1] == "." for _, s in corpus[::100])


def test_prose_and_one_sentence_a_line_read_alike(tmp_path):
    prose, lines = tmp_path / "prose.txt", tmp_path / "lines.txt"
    prose.write_bytes("\ufeffÉl come\r\npan. ¿Quién bebe? ¡Nadie!\r\n\r\nUna. Dos. Una.".encode())
    lines.write_text("Él come pan.\n¿Quién bebe?\n¡Nadie!\n\nUna.\nDos.\n", encoding="utf-8")
    there = [(0, "Él come pan."), (0, "¿Quién bebe?"), (0, "¡Nadie!"), (1, "Una."), (1, "Dos.")]
    assert read_sentences(prose) == read_sentences(lines) == there


def test_word_pieces_there_and_back(text):
    learn = [s for _, s in read_sentences(text)]
    vocabulary = bert.train_vocabulary(learn, 120)
    assert vocabulary == bert.train_vocabulary(learn, 120)
    tokenizer = BertWordPieceTokenizer(vocabulary)
    specials = "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    assert [tokenizer.token_to_id(s) for s in specials] == [PAD, UNK, CLS, SEP, MASK]
    assert tokenizer.decode(tokenizer.encode("The horse eats dogs").ids) == "the horse eats dogs"
    assert tokenizer.encode("a [MASK] b").ids[2] == MASK


def test_short_run_learns_then_its_weights_come_back(text, tmp_path, capsys):
    fill = ("[MASK] cat eats", "The dog eats 3 apples at 4 o'[MASK]")
    options = dict(
        text=text,
        vocab=150,
        max_len=24,
        fill=fill,
        weights=tmp_path / "w.pt",
        figure=tmp_path / "f.png",
        device="cpu",
    )
    result = bert.main(epochs=40, **options)
    answers = capsys.readouterr().out.partition("BERT")[2].splitlines()
    assert result["unigram_accuracy"] < 0.3
    assert result["unigram_accuracy"] + 0.2 < result["mlm_accuracy"] < 0.98
    assert answers[2].split()[0] == "the" and answers[4].split()[0] == "clock"
    again = bert.main(**options)
    assert "epoch" not in (printed := capsys.readouterr().out).replace("epochs", "")
    assert printed.partition("BERT")[2].splitlines()[1:5] == answers[1:5]
    assert {k: v for k, v in again.items() if k != "seconds"} == pytest.approx(
        {k: v for k, v in result.items() if k != "seconds"}
    )
    with pytest.raises(ValueError, match="no weights of this model"):
        bert.main(**options | {"max_len": 30})
    (tmp_path / "w.pt").write_text("not weights")
    with pytest.raises(ValueError, match="no weights of this model"):
        bert.main(**options)


def test_stands_alone_and_says_what_is_wrong(text, tmp_path):
    shutil.copy(bert.__file__, tmp_path)
    single, latin = tmp_path / "one.txt", tmp_path / "latin.txt"
    single.write_text("One. Two. Three.")
    latin.write_bytes("año\n".encode("latin-1") * 50)

    def run(*options):
        command = [sys.executable, "bert.py", "--text", text, "--epochs", "1", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert run().returncode == 0 and (tmp_path / "bert.png").stat().st_size > 10_000
    wrong = {
        ("--text", "none.txt"): "none.txt",
        ("--fill", "No gap here."): "[MASK]",
    }
    for options, sentence in wrong.items():
        found = run(*options)
        assert found.returncode and sentence in found.stderr and "Traceback" not in found.stderr
    ours = dict(text=text, figure=tmp_path / "a.png")
    for options, sentence in (
        (dict(text=single), "21 documents"),
        (dict(text=latin), "codec"),
        (dict(figure=tmp_path / "a.txt"), "end it in"),
        (dict(figure=tmp_path / "none" / "a.png"), "cannot write"),
        (dict(weights=tmp_path / "none" / "w.pt"), "cannot write"),
        (dict(device="gpu9"), "no device"),
        (dict(epochs=0), "--epochs 1"),
        (dict(fill=("[MASK] " * 99,)), "shorter sentences"),
    ):
        with pytest.raises(ValueError, match=sentence):
            bert.main(**ours | options)
    assert not (tmp_path / "a.png").exists()
    assert Path(bert.__file__).exists()
