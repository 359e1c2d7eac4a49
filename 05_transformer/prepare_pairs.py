"""Make pairs.tsv and pairs_test.tsv of your own parallel corpus, for transformer.py --data FOLDER.

    python prepare_pairs.py FILE FOLDER [--swap]           each line: source, tab, translation
    python prepare_pairs.py SOURCES TRANSLATIONS FOLDER    two files, line by line

The files are UTF-8 text; columns after the second are ignored. The sentences stay as they are
written, in Unicode's composed form (NFC) and with single spaces. Repeated pairs are written once,
and sentences of more than LONGEST words are left out.
The test set has 1 000 random pairs, or 5 % of a corpus of less than 20 000. A pair that shares its
source or its target with one of them (the same words, whatever the case and the punctuation) is
not in the training set, so that no test sentence has been seen in training.
"""

import argparse
import random
import sys
import unicodedata
from pathlib import Path

import regex

LONGEST, HELD_OUT = 200, 1000


def words(text):
    """Lower-case words; letters keep their marks, and each Chinese character is a word."""
    return regex.findall(r"(?V1)\p{Han}|[\w--\p{Han}]+", text.lower())


def read_lines(path):
    """The lines of a UTF-8 file; ValueError names the line that is not UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from error
    return unicodedata.normalize("NFC", text).removesuffix("\n").split("\n")


def read_pairs(file, translations):
    """Yields the two sides of each line; both are empty for an empty line."""
    lines = read_lines(file)
    if translations is None:
        for number, line in enumerate(lines, start=1):
            if line.strip() and "\t" not in line:
                raise ValueError(f"{file}, line {number}: no tab between source and translation")
        pairs = [(line + "\t").split("\t")[:2] for line in lines]
    else:
        others = read_lines(translations)
        if len(lines) != len(others):
            counts = f"{file} has {len(lines)} lines, {translations} has {len(others)}"
            raise ValueError(f"{counts}: line by line, they must be translations")
        pairs = zip(lines, others)
    for source, target in pairs:
        # split() knows all of Unicode's white space
        yield " ".join(source.split()), " ".join(target.split())


def split(pairs):
    """Training and test pairs, which have no sentence in common."""
    pairs = random.Random(0).sample(pairs, len(pairs))
    test = pairs[: min(HELD_OUT, len(pairs) // 20)]
    held_out = {" ".join(words(sentence)) for pair in test for sentence in pair}
    train = []
    for pair in pairs:
        if held_out.isdisjoint(" ".join(words(sentence)) for sentence in pair):
            train.append(pair)
    return train, test


def prepare(file, folder, swap=False, translations=None):
    """Divides the pairs into the two files of a folder, and says what is left out."""
    paths = folder / "pairs.tsv", folder / "pairs_test.tsv"
    if any(path.exists() for path in paths):
        raise ValueError(f"{folder} already holds pairs: name another folder")
    pairs, count, single, long = {}, 0, 0, 0
    for source, target in read_pairs(file, translations):
        if swap:
            source, target = target, source
        if not (source or target):
            continue  # an empty line
        count += 1
        if not (source and target):
            single += 1
        elif max(len(words(source)), len(words(target))) > LONGEST:
            long += 1
        else:
            pairs.setdefault((source.lower(), target.lower()), (source, target))
    train, test = split(list(pairs.values()))
    if not (train and test):
        parts = f"{len(train)} training and {len(test)} test pairs"
        raise ValueError(f"{file} is too small: {len(pairs)} different pairs give {parts}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for path, part in zip(paths, (train, test)):
            text = "".join(f"{source}\t{target}\n" for source, target in part)
            path.write_bytes(text.encode())
    except BaseException:  # both files or none, also after Ctrl-C
        for path in paths:
            path.unlink(missing_ok=True)
        raise
    print(f"{len(train)} training pairs, {len(test)} test pairs. Left out of {count}:")
    print(f"{single} without a source or a translation")
    print(f"{long} with a sentence of more than {LONGEST} words")
    print(f"{count - single - long - len(pairs)} repeated")
    print(f"{len(pairs) - len(train) - len(test)} that share a sentence with a test pair")


def main():
    parser = argparse.ArgumentParser(description="make a training and a test set of a corpus")
    parser.add_argument("file", metavar="FILE", type=Path, help="UTF-8: source, tab, translation")
    more = "then FILE has the sources alone, line by line"
    parser.add_argument("translations", metavar="TRANSLATIONS", type=Path, nargs="?", help=more)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the two files go")
    parser.add_argument("--swap", action="store_true", help="translate the other way")
    prepare(**vars(parser.parse_intermixed_args()))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"prepare_pairs.py: {error}")
