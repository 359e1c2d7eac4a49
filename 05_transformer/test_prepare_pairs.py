"""Any parallel corpus becomes training and test pairs without a sentence in common."""

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from prepare_pairs import prepare, words

HERE = Path(__file__).parent


def corpus(lines=200):
    return [f"La casa número {n}.\tHouse number {n}." for n in range(lines)]


def prepared(tmp_path, lines, swap=False):
    """What prepare makes of these lines: training and test pairs."""
    (tmp_path / "corpus.tsv").write_bytes("\n".join(lines).encode())
    prepare(tmp_path / "corpus.tsv", tmp_path / "folder", swap)
    parts = []
    for name in "pairs.tsv", "pairs_test.tsv":
        text = (tmp_path / "folder" / name).read_bytes().decode()
        assert text.endswith("\n")
        parts.append([tuple(line.split("\t")) for line in text[:-1].split("\n")])
    return parts


def test_every_pair_goes_to_one_of_the_two_files(tmp_path):
    train, test = prepared(tmp_path, corpus())
    assert (len(train), len(test)) == (190, 10)  # 5 % of a small file
    assert sorted(train + test) == sorted(tuple(line.split("\t")) for line in corpus())
    numbers = [int(source[:-1].split()[-1]) for source, _ in test]
    assert numbers != sorted(numbers) and max(numbers) > 100  # drawn from the whole file


def test_a_large_file_has_1000_test_pairs(tmp_path, capsys):
    train, test = prepared(tmp_path, corpus(21_000))
    assert (len(train), len(test)) == (20_000, 1_000)
    assert "20000 training pairs, 1000 test pairs" in capsys.readouterr().out


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_command_writes_the_same_bytes_again(tmp_path, hash_seed):
    prepared(tmp_path, corpus(), swap=True)
    command = [sys.executable, HERE / "prepare_pairs.py", "--swap", "corpus.tsv", "a/b"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONIOENCODING": "ascii"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    for name in "pairs.tsv", "pairs_test.tsv":
        assert (tmp_path / "a/b" / name).read_bytes() == (tmp_path / "folder" / name).read_bytes()


def test_swap_exchanges_the_columns_and_further_columns_are_ignored(tmp_path):
    train, test = prepared(tmp_path, [line + "\tCC-BY\t#12" for line in corpus()], swap=True)
    assert set(train + test) == {tuple(line.split("\t")[::-1]) for line in corpus()}


def test_a_byte_order_mark_windows_line_ends_and_blank_lines_do_no_harm(tmp_path):
    lines = ["\ufeff" + corpus()[0], "", *corpus()[1:], " ", ""]
    train, test = prepared(tmp_path, [line + "\r" for line in lines])
    assert sorted(train + test) == sorted(tuple(line.split("\t")) for line in corpus())


def test_text_is_composed_and_white_space_is_one_space(tmp_path):
    odd = "  ¿Un\u2028nin\u0303o\u0085o\u00a0 dos\u202f? \tA  child\x0b or\u3000two\u202f?"
    train, test = prepared(tmp_path, [*corpus(), odd])
    assert ("¿Un niño o dos ?", "A child or two ?") in train + test
    assert all(unicodedata.is_normalized("NFC", text) for pair in train + test for text in pair)


def test_repeated_pairs_are_written_once(tmp_path, capsys):
    again = [
        "LA  CASA\u00a0número 7.\thouse number 7. ",
        "La casa nu\u0301mero 8.\tHouse number 8.",
    ]
    train, test = prepared(tmp_path, [*corpus(), *again])
    assert len(train + test) == 200 and "\n2 repeated\n" in capsys.readouterr().out


def test_lines_without_a_source_or_a_translation_are_left_out_and_counted(tmp_path, capsys):
    train, test = prepared(tmp_path, ["Hola.\t ", *corpus(), "\tHello.\tCC", "\t\t"])
    assert sorted(train + test) == sorted(tuple(line.split("\t")) for line in corpus())
    printed = capsys.readouterr().out
    assert " Left out of 202:\n2 without a source or a translation\n0 with" in printed


def two_files(folder, sources, targets):
    """Two files as OPUS, WMT and Multi30k ship them, and what they are as one."""
    (folder / "train.es").write_bytes("\n".join(sources).encode())
    (folder / "train.en").write_bytes("\n".join(targets).encode())
    return "train.es", "train.en"


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_two_files_are_read_line_by_line(end, tmp_path):
    sources, targets = zip(*[line.split("\t") for line in [*corpus(), "Un\u2028niño.\tA child."]])
    files = two_files(
        tmp_path, ["\ufeff", *sources, "Hola.", "", ""], ["", *targets, " ", "Bye." + end]
    )
    lines = ["\t".join(pair) for pair in zip(sources, targets)]
    prepared(tmp_path, lines, swap=True)
    command = [sys.executable, HERE / "prepare_pairs.py", files[0], "--swap", files[1], "two"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Left out of 203:\n2 without a source or a translation\n" in done.stdout
    for name in "pairs.tsv", "pairs_test.tsv":
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "folder" / name).read_bytes()


@pytest.mark.parametrize("more", [["Adiós."], ["", ""]])
def test_two_files_of_different_lengths_are_refused_by_name(more, tmp_path):
    sources, targets = zip(*[line.split("\t") for line in corpus()])
    files = two_files(tmp_path, [*sources, *more], targets)
    command = [sys.executable, HERE / "prepare_pairs.py", *files, "folder"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "") and not (tmp_path / "folder").exists()
    message = "prepare_pairs.py: train.es has 201 lines, train.en has 200: line by line"
    assert done.stderr.startswith(message) and done.stderr.count("\n") == 1


@pytest.mark.parametrize("bad", [0, 1])
def test_a_file_of_the_two_that_is_not_utf_8_is_named(bad, tmp_path):
    files = two_files(tmp_path, ["a"] * 50, ["b"] * 50)
    (tmp_path / files[bad]).write_bytes(b"a\nse\xf1or\n")
    command = [sys.executable, HERE / "prepare_pairs.py", *files, "folder"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (
        done.stderr
        == f"prepare_pairs.py: {files[bad]}, line 2: not UTF-8; save the file as UTF-8\n"
    )


def test_sentences_of_more_than_200_words_are_left_out_and_counted(tmp_path, capsys):
    lines = ["la " * 201 + "\tThe.", "Él.\t" + "the, " * 201, "La " * 200 + "\t" + "the, " * 200]
    lines += ["Han.\t" + "我" * 201]  # each Chinese character is a word
    train, test = prepared(tmp_path, [*corpus(), *lines])
    assert "3 with a sentence of more than 200 words\n0 repeated\n" in capsys.readouterr().out
    assert len(train + test) == 201
    assert {source for source, _ in train + test if len(source) > 50} == {lines[2].split(" \t")[0]}


def test_no_training_pair_shares_a_sentence_with_the_test_pairs(tmp_path, capsys):
    lines = corpus(400)
    lines += [f"LA CASA NÚMERO {n}!\tThe house with number {n}." for n in range(400)]  # source
    lines += [f"La otra casa, la {n}.\t¡House number, {n}" for n in range(400)]  # target
    lines += [f"La  casa nu\u0301mero\u00a0{n} .\tIt is house {n}." for n in range(400)]  # spaces
    train, test = prepared(tmp_path, lines)
    for side in 0, 1:
        held_out = {tuple(words(pair[side])) for pair in test}
        assert held_out and held_out.isdisjoint(tuple(words(pair[side])) for pair in train)
    assert len(train + test) < 1520
    shared = f"\n{1600 - len(train + test)} that share a sentence with a test pair\n"
    assert shared in capsys.readouterr().out


def test_words_are_those_of_any_script():
    assert words("¡Él don't LEE!") == ["él", "don", "t", "lee"]
    assert words("राम की चिट्ठी। T恤 学生。") == ["राम", "की", "चिट्ठी", "t", "恤", "学", "生"]


@pytest.mark.parametrize(
    "data, message",
    [
        ("\n".join([*corpus(), "", "Hola, Hello"]).encode(), "line 202: no tab"),
        ("\n".join(["Hola\u2028\u0085Hello", *corpus()]).encode(), "line 1: no tab"),
        ("\n".join(["a\u2028b\u0085c\td", "Hola", *corpus()]).encode(), "line 2: no tab"),
        ("\n".join([*corpus(), "Señor\tMister"]).encode("latin-1"), "line 1: not UTF-8"),
        ("\n".join(corpus()).encode() + b"\n\nse\xf1or\tsir", "line 202: not UTF-8"),
        ("\n".join(corpus()).encode("utf-16"), "line 1: not UTF-8"),
        (b"", "is too small: 0 different pairs give"),
        ("\n".join(corpus(19)).encode(), "is too small: 19 different pairs give"),
        ("\n".join(corpus(1) * 50).encode(), "is too small: 1 different pairs give"),
        (
            "\n".join(f"Hola.\tHello {n}" for n in range(50)).encode(),
            "50 different pairs give 0 training and 2 test pairs",
        ),
        (None, "No such file"),
    ],
)
def test_a_bad_file_is_answered_by_one_sentence_and_nothing_is_written(tmp_path, data, message):
    if data is not None:
        (tmp_path / "bad.tsv").write_bytes(data)
    command = [sys.executable, HERE / "prepare_pairs.py", "bad.tsv", "folder"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("prepare_pairs.py: ") and done.stderr.count("\n") == 1
    assert "bad.tsv" in done.stderr and message in done.stderr
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs_test.tsv"])
def test_a_folder_that_holds_pairs_is_left_as_it_is(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_text("mine")
    with pytest.raises(ValueError, match="folder already holds pairs"):
        prepared(tmp_path, corpus())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]
    assert (tmp_path / "folder" / name).read_text() == "mine"


@pytest.mark.parametrize("failing", ["pairs.tsv", "pairs_test.tsv"])
def test_both_files_are_written_or_none(tmp_path, monkeypatch, failing):
    write = Path.write_bytes

    def interrupted(path, data):
        if path.name != failing:
            return write(path, data)
        write(path, data[:100])
        raise KeyboardInterrupt

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path, corpus())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["notes.txt"]
