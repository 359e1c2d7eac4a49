"""How a text is read, divided, paired and cut into subword tokens."""

from collections import Counter
from itertools import pairwise

import bert
import torch
from bert import PAD, SEP, read_pairs

NOUNS = "cat dog bird fish horse cow".split()


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
    text = "X. Y.\n\nUna\ndos\n¿Tres? Aa… 3.5\nक ख।ग घ। 你好。再见！？A! \n[a] b. "
    text += "\n".join(f"N{i}." for i in range(1100))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    marked = "x.|y.|una dos ¿tres?|aa…|3.5 क ख।|ग घ।|你好。|再见！？|a!|[a] b.".split("|")
    marked += [f"n{i}." for i in range(1100)]
    parts = [list(pairwise(marked[i : i + 50])) for i in range(0, len(marked), 50)]
    training, test = read_pairs(tmp_path / "text.txt")
    assert test == parts[0] + parts[20] and training == sum(parts[1:20] + parts[21:], [])


def test_a_repeated_pair_is_dropped_and_a_test_pair_with_a_known_sentence(tmp_path):
    documents = [[f"d{d}n{i}." for i in range(50)] for d in range(3)]
    documents[0][10] = documents[1][49]  # of the test set, the last B of the training set
    documents[0][30] = documents[1][0]  # and its first A
    documents[2][:2] = "D0N0.", "D0N1."  # a pair of the test set
    (tmp_path / "text.txt").write_text(" ".join(sum(documents, [])), encoding="utf-8")
    training, test = read_pairs(tmp_path / "text.txt")
    first, second, third = (list(pairwise(document)) for document in documents)
    assert test == first[2:9] + first[11:29] + first[31:]
    assert training == second + [("d0n1.", "d2n2."), *third[2:]]


def test_a_random_sentence_is_the_b_of_another_pair_and_never_what_follows():
    """Every second letter follows a letter, so that many a random one does."""
    letters = "abcdefghij"
    pairs = [(a, b) for a in letters for b in letters if (ord(a) + ord(b)) % 2 == 0]
    tokenizer = bert.train_tokenizer(list(letters))
    torch.manual_seed(0)
    found = []
    for _ in range(200):
        for (masked, _, is_target), words, is_random in bert.batches(pairs, tokenizer, 16):
            rows = tokenizer.decode_batch(masked.masked_scatter(is_target, words).tolist())
            found += [(*row.split(), label) for row, label in zip(rows, is_random.tolist())]
    assert all(label == ((a, b) not in pairs) for a, b, label in found)
    assert {*Counter(a for a, _, _ in found).values()} == {200 * 5}  # each pair once in an epoch
    assert len(set(found)) == 100 and found[:50] != sorted(found[:50])
    assert 0.23 < sum(label for _, _, label in found) / len(found) < 0.27  # half of the half


def test_the_longer_sentence_of_a_pair_loses_its_end():
    tokenizer = bert.train_tokenizer([" ".join(NOUNS)] * 9, 120, 10)
    long, cut = "fish dog " * 9, "fish dog fish dog fish dog"
    for a, b, row in ("cow", long, f"cow [SEP] {cut}"), (long, "cow", f"{cut} [SEP] cow"):
        (ids, segments, is_target), words, _ = next(bert.batches([(a, b)], tokenizer))
        ids = ids.masked_scatter(is_target, words)[0].tolist()
        assert tokenizer.decode(ids, skip_special_tokens=False) == f"[CLS] {row} [SEP]"
        assert segments[0].tolist() == [0] * (ids.index(SEP) + 1) + [1] * (9 - ids.index(SEP))


def test_subword_tokens_there_and_back():
    sentences = [f"the {noun} eats {n} piñas" for n in range(9) for noun in NOUNS]
    tokenizer = bert.train_tokenizer(sentences, 100)
    assert bert.train_tokenizer(sentences, 100).get_vocab() == tokenizer.get_vocab()
    assert [tokenizer.id_to_token(i) for i in range(5)] == "[PAD] [UNK] [CLS] [SEP] [MASK]".split()
    assert tokenizer.decode(tokenizer.encode("The dogs eat piñas").ids) == "the dogs eat piñas"
    assert [row.ids[-1] for row in tokenizer.encode_batch(["a", "a b"])] == [PAD, SEP]
