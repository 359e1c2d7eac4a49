"""How a text is read, divided, paired and cut into subword tokens."""

import bert
import pytest
import torch
from bert import MASK, PAD, SEP, read_pairs

NOUNS = "cat dog bird fish horse cow".split()


def test_docstrings_give_pairs_without_a_leak():
    training, test = read_pairs(None)
    assert 30_000 < len(training) < 60_000 and 0.02 < len(test) / len(training) < 0.1
    assert len({*training, *test}) == len(training) + len(test)
    assert not {s for pair in training for s in pair} & {s for pair in test for s in pair}


SOURCE = """
    Returns the `mean`, e.g.
    of 1.5. A second line, and nothing is

    Parameters
    ----------
    x : array
        Values a > 1. See A=1. The rest
        goes on. For a list:

    - An item
    - Another item. Last."""


def test_docstrings_give_their_prose(tmp_path, monkeypatch):
    for name, text in ("numpy/b", SOURCE), ("numpy/a/z", "X."), ("torch/c", "Y. Z."):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / f"{name}.py").write_text(f'No. """{text}""" No. """{text}"""')
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    found = [(number, [" ".join(s.split()) for s in part]) for number, part in bert.docstrings()]
    prose = ["Returns the mean, e.g.", "The rest goes on.", "Another item.", "Last."]
    assert found == [(0, ["X."])] * 2 + [(1, prose)] * 2 + [(0, ["Y.", "Z."])] * 2


def test_sentences_end_at_a_mark_wherever_the_lines_end(tmp_path):
    text = (
        "\ufeffX. Y.\n\nUna dos\r\nu\u0301ltimas\r\n¿Tres? Aa… Bb\r\n\r\ncuatro\u2028es\u0085más. "
    )
    text += "3.5\nक ख।ग घ। ङ च । 你好。\n再见！？A! \n[a] b. "
    marked = ["x.", "y.", "una dos últimas ¿tres?", "aa…", "bb cuatro es más.", "3.5 क ख।", "ग घ।"]
    marked += ["ङ च ।", "你好。", "再见！？", "a!", "[a] b."]
    marked += [f"n{i}." for i in range(1100)]
    (tmp_path / "text.txt").write_bytes((text + "\n".join(marked[12:])).encode())
    training, test = read_pairs(tmp_path / "text.txt")
    documents = [marked[i : i + 50] for i in range(0, len(marked), 50)]
    pairs = [list(zip(document, document[1:])) for document in documents]
    assert test == pairs[0] + pairs[20]
    assert training == sum(pairs[1:20] + pairs[21:], [])


def test_a_repeated_pair_is_dropped_and_a_test_pair_with_a_known_sentence(tmp_path):
    documents = [[f"d{d}n{i}." for i in range(50)] for d in range(3)]
    documents[0][10] = documents[1][20]  # of the test set, in the training set
    documents[2][:2] = "D1N0.", "d1n1  ."[:4] + "."  # a pair of document 1 in capital letters
    (tmp_path / "text.txt").write_text(" ".join(sum(documents, [])), encoding="utf-8")
    training, test = read_pairs(tmp_path / "text.txt")
    assert len(test) == 49 - 2 and len(training) == 49 + 49 - 1
    assert not {s for pair in test for s in pair} & {s for pair in training for s in pair}


def test_a_random_sentence_is_the_b_of_another_pair_and_never_the_next_one():
    names = [f"{n}{m}" for n in "abcdefgh" for m in "abcdefgh"]
    pairs = [(f"a{name}", f"b{name}") for name in names] + [("aaa", "bab"), ("aab", "baa")]
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b in pairs] * 9, 400)
    torch.manual_seed(0)
    seen, labels = set(), []
    for _ in range(40):
        epoch = list(bert.batches(pairs, tokenizer, 16))
        assert [len(labels) for _, _, labels in epoch] == [16, 16, 16, 16, 2]
        for (masked, segments, is_target), words, is_random in epoch:
            ids = masked.masked_scatter(is_target, words)
            for row, kinds, label in zip(ids, segments, is_random):
                a, b = tokenizer.decode(row[kinds == 0].tolist()), row[kinds == 1].tolist()
                pair = a, tokenizer.decode(b)
                assert label == (pair not in pairs)
                seen.add(pair)
                labels.append(label)
    assert seen > set(pairs) and len(seen) > 1000
    assert sum(labels) / len(labels) == pytest.approx(0.48, abs=0.03)


def test_the_longer_sentence_of_a_pair_loses_its_end():
    tokenizer = bert.train_tokenizer([" ".join(NOUNS)] * 9, 120, 10)
    ((ids, segments, is_target), words, _), *_ = bert.batches([("cow", "fish dog " * 9)], tokenizer)
    ids = ids.masked_scatter(is_target, words)[0].tolist()
    kept = tokenizer.decode(ids, skip_special_tokens=False)
    assert kept == "[CLS] cow [SEP] fish dog fish dog fish dog [SEP]"
    assert segments[0].tolist() == [0] * 3 + [1] * 7


def test_subword_tokens_there_and_back():
    sentences = [f"the {noun} eats {n} apples" for n in range(9) for noun in NOUNS]
    tokenizer = bert.train_tokenizer(sentences, 100)
    assert bert.train_tokenizer(sentences, 100).get_vocab() == tokenizer.get_vocab()
    assert [tokenizer.id_to_token(i) for i in range(5)] == "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    assert tokenizer.decode(tokenizer.encode("The horse eats dogs").ids) == "the horse eats dogs"
    assert tokenizer.encode("a [MASK] b").ids[2] == MASK
    assert [row.ids[-1] for row in tokenizer.encode_batch(["a", "a b"])] == [PAD, SEP]
    spanish = bert.train_tokenizer(["el año del niño"], 60, 40)
    assert spanish.decode(spanish.encode("El niño").ids) == "el niño"


def test_a_run_is_evaluated_on_the_test_set_and_its_tokenizer_knows_the_training_set_only(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(bert, "draw", lambda curve: None)
    sentences = [f"The {NOUNS[i % 6]} sees x{i}. It has {i} of them." for i in range(100)]
    (tmp_path / "text.txt").write_text(" ".join(sentences), encoding="utf-8")
    result = bert.main(tmp_path / "text.txt", epochs=1, fill=())
    training, test = read_pairs(tmp_path / "text.txt")
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b in training])
    assert result["tokenizer"].get_vocab() == tokenizer.get_vocab()
    torch.manual_seed(0)
    metrics = bert.evaluate(result["model"], *next(bert.batches(test, tokenizer, 2048)))
    assert metrics == {name: result[name] for name in metrics}
