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


def test_what_is_left_out_is_counted(tmp_path, capsys):
    odd = "  ¿Un\u2028nin\u0303o\u0085o\u00a0 dos\u202f? \tA  child\x0b or\u3000two\u202f?"
    longest = ("चिट्ठी " * 200).strip(), ("the, " * 200).strip()
    kept = [("Sí.", "Yes."), ("¿Un niño o dos ?", "A child or two ?"), longest]
    lines = [*corpus(), "Sí.\tYes.\tCC-BY\t#12\r", odd, "\t".join(longest)]
    lines += ["", " ", "\t\t", "\r"]  # they do not count
    lines += ["Hola.\t ", "\tHello.\tCC"]
    lines += ["la " * 201 + "\tThe.", "Él.\t" + "the, " * 201, "Han.\t" + "T恤" * 101]
    lines += ["LA  CASA\u00a0número 7.\thouse number 7. "]
    lines += ["La casa nu\u0301mero 8.\tHouse number 8."]
    train, test = prepared(tmp_path, lines)
    assert sorted(train + test) == sorted([*pairs(corpus()), *kept])
    message = "Left out of 210:\n2 without a source or a translation\n"
    message += "3 with a sentence of more than 200 words\n2 repeated\n0 that share"
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
    shared = f"\n{1600 - len(train + test)} that share a sentence with a test pair\n"
    assert shared in capsys.readouterr().out


def test_words_are_those_of_any_script():
    assert words("¡Él don't LEE!") == ["él", "don", "t", "lee"]
    assert words("राम की चिट्ठी। T恤 学生。") == ["राम", "की", "चिट्ठी", "t", "恤", "学", "生"]


def test_two_files_are_read_line_by_line_and_swap_exchanges_them(tmp_path):
    sources, targets = zip(*pairs([*corpus(), "Un\u2028niño.\tA child."]))
    two_files = ["\ufeff", *sources, "Hola.", "", ""], ["", *targets, " ", "Bye.\r\n"]
    for name, lines in zip(("train.es", "train.en"), two_files):
        (tmp_path / name).write_bytes("\n".join(lines).encode())
    arguments = "train.es", "--swap", "train.en", "a/two"
    done = run(tmp_path, *arguments, PYTHONHASHSEED="1", PYTHONIOENCODING="ascii")
    assert "Left out of 203:\n2 without a source or a translation\n" in done.stdout
    swapped = ["\t".join(pair) for pair in zip(targets, sources)]
    assert [*prepared(tmp_path, swapped)] == [*read(tmp_path / "a/two")]


def text(*lines):
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    "files, message",
    [
        ([text(*corpus(), "", "Hola, Hello")], "file0, line 202: no tab"),
        ([text("a\u2028b\u0085c\td", "Hola", *corpus())], "file0, line 2: no tab"),
        ([text(*corpus()) + b"\n\nse\xf1or\tsir"], "file0, line 202: not UTF-8; save the file as"),
        ([text(*corpus()).decode().encode("utf-16")], "file0, line 1: not UTF-8"),
        ([b"a\nb", b"a\nse\xf1or\n"], "file1, line 2: not UTF-8"),
        ([text(*["a"] * 200) + b"\n\n", text(*["b"] * 200)], "file0 has 201 lines, file1 has 200"),
        ([b""], "file0 is too small: 0 different pairs give"),
        ([text(*corpus(19))], "file0 is too small: 19 different pairs give"),
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
    mine = tmp_path / "folder" / name
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(ValueError, match="folder already holds pairs"):
        prepared(tmp_path, corpus())
    assert [*mine.parent.iterdir()] == [mine] and mine.read_text() == "mine"


def test_both_files_are_written_or_none(tmp_path, monkeypatch):
    def interrupted(path, data):
        path.write_text(data.decode())
        if path.name == "pairs_test.tsv":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path, corpus())
    assert not list((tmp_path / "folder").iterdir())
