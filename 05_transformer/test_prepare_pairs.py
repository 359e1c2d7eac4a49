"""Any parallel corpus becomes training and test pairs without a sentence in common."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prepare_pairs import prepare, words

SCRIPT = Path(__file__).with_name("prepare_pairs.py")


def corpus(count=200):
    return [f"La casa número {n}.\tHouse number {n}." for n in range(count)]


def pairs(lines):
    return [tuple(line.split("\t")) for line in lines]


def read(folder):
    """The training and the test pairs in a folder."""
    for name in "pairs.tsv", "pairs_test.tsv":
        text = (folder / name).read_bytes().decode()
        assert text.endswith("\n")
        yield pairs(text[:-1].split("\n"))


def prepared(tmp_path, lines):
    """What prepare makes of these lines."""
    (tmp_path / "corpus.tsv").write_bytes("\n".join(lines).encode())
    prepare(tmp_path / "corpus.tsv", tmp_path / "folder")
    return read(tmp_path / "folder")


def run(folder, *arguments, **environment):
    command = [sys.executable, SCRIPT, *arguments]
    env = os.environ | environment
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("count, held_out", [(200, 10), (21_000, 1000)])
def test_every_pair_goes_to_one_of_the_two_files(tmp_path, capsys, count, held_out):
    train, test = prepared(tmp_path, corpus(count))
    assert len(test) == held_out and sorted(train + test) == sorted(pairs(corpus(count)))
    numbers = [int(source[:-1].split()[-1]) for source, _ in test]
    assert numbers != sorted(numbers) and max(numbers) > count / 2  # drawn from the whole file
    message = f"{count - held_out} training pairs, {held_out} test pairs. Left out of {count}:"
    assert message in capsys.readouterr().out


LONG = "La " * 200 + "\t" + "the, " * 200
ODD = "  ¿Un\u2028nin\u0303o\u0085o\u00a0 dos\u202f? \tA  child\x0b or\u3000two\u202f?"


@pytest.mark.parametrize(
    "more, kept, message",
    [
        (["", " ", "\t\t", "\r"], [], "Left out of 200:\n0 without"),
        (["Hola.\t ", "\tHello.\tCC"], [], "202:\n2 without a source or a translation\n0 with"),
        (["Sí.\tYes.\tCC-BY\t#12\r"], [("Sí.", "Yes.")], "Left out of 201:"),
        ([ODD], [("¿Un niño o dos ?", "A child or two ?")], "Left out of 201:"),
        (["LA  CASA\u00a0número 7.\thouse number 7. ", "Sí.\tYes."], [("Sí.", "Yes.")], "1 repe"),
        (["La casa nu\u0301mero 8.\tHouse number 8."], [], "\n1 repeated\n0 that"),
        ([LONG], [tuple(LONG.replace(" \t", "\t").strip().split("\t"))], "0 with a sentence"),
        (["la " * 201 + "\tThe."], [], "\n1 with a sentence of more than 200 words\n0 repeated"),
        (["Él.\t" + "the, " * 201], [], "\n1 with a sentence of more than 200 words\n0 repeated"),
        (["Han.\t" + "我" * 201], [], "\n1 with a sentence of more than 200 words\n0 repeated"),
    ],
)
def test_what_is_left_out_is_counted(tmp_path, capsys, more, kept, message):
    train, test = prepared(tmp_path, [*corpus(), *more])
    assert sorted(train + test) == sorted([*pairs(corpus()), *kept])
    assert message in capsys.readouterr().out


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


@pytest.mark.parametrize("hash_seed, end", [("0", ""), ("1", "\n"), ("2", "\r\n")])
def test_two_files_are_read_line_by_line_and_swap_exchanges_them(tmp_path, hash_seed, end):
    sources, targets = zip(*pairs([*corpus(), "Un\u2028niño.\tA child."]))
    two_files = ["\ufeff", *sources, "Hola.", "", ""], ["", *targets, " ", "Bye." + end]
    for name, lines in zip(("train.es", "train.en"), two_files):
        (tmp_path / name).write_bytes("\n".join(lines).encode())
    arguments = "train.es", "--swap", "train.en", "a/two"
    done = run(tmp_path, *arguments, PYTHONHASHSEED=hash_seed, PYTHONIOENCODING="ascii")
    assert "Left out of 203:\n2 without a source or a translation\n" in done.stdout
    swapped = ["\t".join(pair) for pair in zip(targets, sources)]
    assert [*prepared(tmp_path, swapped)] == [*read(tmp_path / "a/two")]


def text(*lines):
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    "files, message",
    [
        ([text(*corpus(), "", "Hola, Hello")], "file0, line 202: no tab"),
        ([text("Hola\u2028\u0085Hello", *corpus())], "file0, line 1: no tab"),
        ([text("a\u2028b\u0085c\td", "Hola", *corpus())], "file0, line 2: no tab"),
        ([text(*corpus()) + b"\n\nse\xf1or\tsir"], "file0, line 202: not UTF-8; save the file as"),
        ([text(*corpus()).decode().encode("utf-16")], "file0, line 1: not UTF-8"),
        ([b"a\nb", b"a\nse\xf1or\n"], "file1, line 2: not UTF-8"),
        ([text(*["a"] * 201), text(*["b"] * 200)], "file0 has 201 lines, file1 has 200: line by"),
        ([text(*["a"] * 200) + b"\n\n", text(*["b"] * 200)], "file0 has 201 lines, file1 has 200"),
        ([b""], "file0 is too small: 0 different pairs give"),
        ([text(*corpus(19))], "file0 is too small: 19 different pairs give"),
        ([text(*corpus(1) * 50)], "file0 is too small: 1 different pairs give"),
        ([text(*[f"Hola.\tBye {n}" for n in range(50)])], "50 different pairs give 0 train"),
        ([], "missing"),
    ],
)
def test_a_bad_file_is_answered_by_one_sentence_and_nothing_is_written(tmp_path, files, message):
    for i, data in enumerate(files):
        (tmp_path / f"file{i}").write_bytes(data)
    names = [f"file{i}" for i in range(len(files))] or ["missing"]
    done = run(tmp_path, *names, "folder")
    assert (done.returncode, done.stdout) == (1, "") and not (tmp_path / "folder").exists()
    assert done.stderr.startswith("prepare_pairs.py: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs_test.tsv"])
def test_a_folder_that_holds_pairs_is_left_as_it_is(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).write_text("mine")
    with pytest.raises(ValueError, match="folder already holds pairs"):
        prepared(tmp_path, corpus())
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]
    assert (tmp_path / "folder" / name).read_text() == "mine"


def test_both_files_are_written_or_none(tmp_path, monkeypatch):
    def interrupted(path, data):
        path.write_text("some")
        if path.name == "pairs_test.tsv":
            raise KeyboardInterrupt

    (tmp_path / "corpus.tsv").write_bytes(text(*corpus()))
    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "corpus.tsv", tmp_path / "folder")
    assert not list((tmp_path / "folder").iterdir())
