import subprocess
import sys
from types import SimpleNamespace

import bert
import pytest
import torch
from bert import CLS, MASK, PAD, SEP, Bert, batches, evaluate, mask_tokens, read_sentences
from torch.nn.functional import cross_entropy, pad
from transformers import BertConfig, BertForPreTraining

NOUNS = "cat dog bird fish horse cow".split()


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """30 documents about one noun each, which nearly always eats and seldom sleeps."""
    path = tmp_path_factory.mktemp("text") / "animals.txt"
    verbs = "eats", "eats", "eats", "sees", "takes"
    lines = [
        f"The {NOUNS[d % 6]} {verbs[s % 5]} {d} {'red ' * (s % 3)}apples at {s} o'clock."
        + "\n" * (s == 9)
        for d in range(30)
        for s in range(10)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sentences(text):
    return read_sentences(text)[0]


@pytest.fixture(scope="module")
def tokenizer(sentences):
    return bert.train_tokenizer(sentences, 120, 40)


@pytest.fixture
def batch(sentences, tokenizer):
    """((masked, segments, chosen), words, strangers) of 16 pairs."""
    torch.manual_seed(1)
    return next(batches(sentences, tokenizer, "cpu", 16))


def small(tokenizer):
    torch.manual_seed(0)
    return Bert(tokenizer.get_vocab_size(), 16, 2, layers=2, d_ff=24, max_len=50)


def loss_of(model, inputs, words, strangers):
    logits, pairs = model(*inputs)
    return cross_entropy(logits, words) + cross_entropy(pairs, strangers)


def reference(model):
    """Hugging Face's BertForPreTraining with the weights of ours; our name -> its parameter."""
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    sizes |= dict(vocab_size=len(model.bias), max_position_embeddings=50, layer_norm_eps=1e-5)
    theirs = BertForPreTraining(BertConfig(**sizes)).eval()  # without dropout
    names = {
        "tables.0": "bert.embeddings.word_embeddings",
        "tables.1": "bert.embeddings.position_embeddings",
        "tables.2": "bert.embeddings.token_type_embeddings",
        "embed.0": "bert.embeddings.LayerNorm",
        "words.0": "cls.predictions.transform.dense",
        "words.2": "cls.predictions.transform.LayerNorm",
        "": "cls.predictions",  # our bias
        "pairs.0": "bert.pooler.dense",
        "pairs.2": "cls.seq_relationship",
    }
    parts = {
        "self_attention.W_q": "attention.self.query",
        "self_attention.W_k": "attention.self.key",
        "self_attention.W_v": "attention.self.value",
        "self_attention.W_o": "attention.output.dense",
        "norms.0": "attention.output.LayerNorm",
        "ffn.0": "intermediate.dense",
        "ffn.2": "output.dense",
        "norms.1": "output.LayerNorm",
    }
    for i in range(2):
        names |= {f"layers.{i}.{a}": f"bert.encoder.layer.{i}.{b}" for a, b in parts.items()}
    its, ours = dict(theirs.named_parameters()), dict(model.named_parameters())
    split = {name: name.rpartition(".") for name in ours}
    its = {name: its.pop(f"{names[part]}.{kind}") for name, (part, _, kind) in split.items()}
    assert len(its) == len(list(theirs.parameters()))  # none of theirs without a counterpart
    for name, parameter in ours.items():
        its[name].data.copy_(parameter)
    return theirs, its


def test_parity_with_hugging_face(tokenizer, batch):
    model = small(tokenizer)
    theirs, its = reference(model)
    (masked, segments, chosen), words, strangers = batch
    assert (masked == PAD).any() and segments.any() and 0 < strangers.sum() < 16
    logits, pairs = model(*batch[0])
    out = theirs(masked, attention_mask=(masked != PAD).long(), token_type_ids=segments)
    torch.testing.assert_close(logits, out.prediction_logits[chosen], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pairs, out.seq_relationship_logits, atol=1e-5, rtol=1e-4)
    loss = cross_entropy(out.prediction_logits[chosen], words)
    (loss + cross_entropy(out.seq_relationship_logits, strangers)).backward()
    loss_of(model, *batch).backward()
    for name, parameter in model.named_parameters():
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
    assert set(few[chosen_few].tolist()) == {MASK, 5, 6}
    assert not torch.equal(mask_tokens(ids, 1000)[0], masked)  # drawn afresh


def test_no_stranger_is_the_next_sentence_in_the_whole_corpus():
    learn, test = read_sentences(None)
    words = sum(len(sentence.split()) for sentence in [*learn, *test])
    assert 500_000 < words < 1_000_000 and 0.02 < len(test) / len(learn) < 0.1
    assert not learn.keys() & test.keys()  # no repeats
    assert all(s == s.lower().strip() for s in [*learn, *test])
    assert not {*learn.values()} & {*test.values()}
    place, document, pairs = {s: i for i, s in enumerate(learn)}, list(learn.values()), []

    def encode_batch(texts):
        pairs.extend((place[a], place[b]) for a, b in texts)
        return [SimpleNamespace(ids=[CLS, 5, SEP], type_ids=[0, 0, 0])] * len(texts)

    recorder = SimpleNamespace(encode_batch=encode_batch, get_vocab_size=lambda: 6)
    torch.manual_seed(0)
    strangers = torch.cat([batch[2] for batch in batches(learn, recorder, "cpu")]).tolist()
    for (a, b), stranger in zip(pairs, strangers, strict=True):
        assert (document[a] != document[b]) if stranger else (b == a + 1)
        assert document[a] == document[a + 1]
    assert len({a for a, _ in pairs}) == len(pairs) > 50_000
    assert sum(strangers) / len(strangers) == pytest.approx(0.5, abs=0.01)


def test_pairs_have_segments_and_lose_the_end_of_the_longer_side(sentences):
    tokenizer = bert.train_tokenizer(sentences, 120, 12)
    short, long = "the cat eats", "apples at cow dog fish bird horse sees"
    corpus = {short: 0, long: 0, short.title(): 0, long.title(): 1, short.upper(): 1}
    corpus |= {long.upper(): 1}  # large or small letters, it is the same sentence
    kept = {f"[CLS] {short} [SEP] {long[:27]} [SEP]", f"[CLS] {long[:27]} [SEP] {short} [SEP]"}
    found = set()
    for (masked, segments, chosen), words, _ in batches(corpus, tokenizer, "cpu", 1):
        ids = masked.masked_scatter(chosen, words)[0].tolist()
        middle = ids.index(SEP)
        assert segments[0].tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        found.add(tokenizer.decode(ids, skip_special_tokens=False))
    assert kept <= found


def test_padding_and_unchosen_words_change_nothing(tokenizer, batch):
    model = small(tokenizer)
    (masked, segments, chosen), words, strangers = batch
    wide = [pad(t, (0, 9)) for t in (masked, segments, chosen)]
    loss = loss_of(model, *batch)
    torch.testing.assert_close(loss_of(model, wide, words, strangers), loss)
    few = chosen & (torch.rand(chosen.shape) < 0.5)
    logits = model(masked, segments, chosen)[0]
    torch.testing.assert_close(model(masked, segments, few)[0], logits[few[chosen]])
    assert len(logits) == chosen.sum() == len(words)
    model.embed[1].p = 0.5
    first, second = (evaluate(model.train(), [batch]) for _ in range(2))
    assert first == second


def test_prose_and_one_sentence_a_line_read_alike(tmp_path):
    prose, lines = tmp_path / "prose.txt", tmp_path / "lines.txt"
    prose.write_bytes(
        "\ufeffÉl come\r\npan. ¿Quién bebe? ¡No!\r\n\r\nUna. Dos\r\núltimas\r\nTres. Una.".encode()
    )
    lines.write_text(
        "Él come pan.\n¿Quién bebe?\n¡No!\n\nUna.\nDos últimas\nTres.\n", encoding="utf-8"
    )
    learn, test = ["una.", "dos últimas", "tres."], ["él come pan.", "¿quién bebe?", "¡no!"]
    for path in (prose, lines):
        assert read_sentences(path) == (dict.fromkeys(learn, 1), dict.fromkeys(test, 0))


def test_word_pieces_there_and_back(sentences, tokenizer):
    again = bert.train_tokenizer(sentences, 120, 40)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert [tokenizer.id_to_token(i) for i in range(5)] == "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    assert tokenizer.decode(tokenizer.encode("The horse eats dogs").ids) == "the horse eats dogs"
    assert tokenizer.encode("a [MASK] b").ids[2] == MASK
    spanish = bert.train_tokenizer(["el año del niño"], 60, 40)
    assert spanish.decode(spanish.encode("El niño").ids) == "el niño"


def test_short_run_learns_then_its_weights_come_back(text, tmp_path, capsys, monkeypatch):
    fill = ("[MASK] cat eats", "The dog eats 3 apples at 4 o'[MASK]")
    options = dict(text=text, vocab=150, max_len=24, fill=fill, device="cpu")
    options |= dict(weights=tmp_path / "w.pt", figure=tmp_path / "f.png")
    result = bert.main(epochs=30, **options)
    answers = capsys.readouterr().out.partition("[MASK]")[2].partition("mlm")[0]
    assert result["unigram_accuracy"] < 0.3
    assert result["unigram_accuracy"] + 0.2 < result["mlm_accuracy"] < 0.98
    assert answers.startswith(" cat eats -> the 0.") and "-> clock 0." in answers
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()  # and nothing can be written where the weights are
    monkeypatch.setattr(bert.os, "access", lambda path, mode: path == elsewhere)
    options["figure"] = elsewhere / "f.png"
    again = bert.main(**options)
    printed = capsys.readouterr().out
    assert "epoch" not in printed and answers in printed
    del result["seconds"], again["seconds"]
    assert again == pytest.approx(result)
    other = tmp_path / "other.pt"
    other.write_text("not weights")
    for wrong in (dict(max_len=30), dict(vocab=100), dict(weights=other)):
        with pytest.raises(ValueError, match="is not of this --text, --vocab and --max-len"):
            bert.main(**options | wrong)


def test_says_what_is_wrong(text, tmp_path):
    single, latin = tmp_path / "one.txt", tmp_path / "latin.txt"
    single.write_text("One. Two. Three.")
    latin.write_bytes("año\n".encode("latin-1") * 50)
    for error, sentence, options in (
        (ValueError, "21 documents", dict(text=single)),
        (ValueError, "codec", dict(text=latin)),
        (OSError, "none.txt", dict(text=tmp_path / "none.txt")),
        (ValueError, "cannot save", dict(figure=tmp_path / "a.txt")),
        (ValueError, "cannot save", dict(figure=tmp_path / "none" / "a.png")),
        (ValueError, "cannot save", dict(weights=tmp_path / "none" / "w.pt")),
        (ValueError, "no device 'gpu9'", dict(device="gpu9")),
        (ValueError, "--epochs 1", dict(epochs=0)),
        (ValueError, "write .MASK.", dict(fill=("No gap here.",))),
        (ValueError, "first 44 pieces", dict(fill=("word " * 50 + "[MASK]",))),
    ):
        with pytest.raises(error, match=sentence):
            bert.main(**dict(text=text, vocab=100, figure=tmp_path / "a.png") | options)
    assert not (tmp_path / "a.png").exists()
    command = [sys.executable, bert.__file__, "--text", latin]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and "save the text as UTF-8" in run.stderr
    assert run.stderr.count("\n") == 1  # no traceback
