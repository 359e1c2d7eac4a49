"""The programs beside the model, and a model that is saved and loaded."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import bert
import pytest
import real_bert
import several_processes
import torch
from test_bert import animals, trained_by_hand
from transformers import BertConfig, BertForPreTraining, BertTokenizer

HERE = Path(__file__).parent


def test_real_weights_fill_masks(tmp_path, capsys):
    """A tiny BERT of Hugging Face, with random weights, saved to a folder."""
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] paris is the capital of france .".split()
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizer(str(tmp_path / "vocab.txt"))
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)
    theirs = BertForPreTraining(BertConfig(vocab_size=len(words), **sizes)).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    real_bert.main(str(tmp_path), ("Paris is the [MASK] of [MASK].",))
    row = tokenizer("Paris is the [MASK] of [MASK].", return_tensors="pt")
    expected = theirs(**row).prediction_logits[row.input_ids == bert.MASK].topk(5).indices
    shown = [line.split(" -> ")[1].split() for line in capsys.readouterr().out.splitlines()]
    assert shown == [tokenizer.convert_ids_to_tokens(ids) for ids in expected]


def test_without_weights_one_sentence_says_so(tmp_path):
    with pytest.raises(SystemExit, match="none is no folder with a BERT, and it could not be down"):
        real_bert.main(str(tmp_path / "none"))


PROGRAM = """
import os, sys, torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from several_processes import main
torch.save(main(Path("text.txt"), epochs=3), os.environ["RANK"])
"""


def test_two_processes_train_as_one_on_the_batches_of_both(tmp_path):
    text = animals(tmp_path / "text.txt")
    (tmp_path / "program.py").write_text(PROGRAM)
    options = "-m torch.distributed.run --standalone --nproc-per-node 2 program.py".split()
    command, env = [sys.executable, *options, HERE], os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("masked words") == 1 and done.stderr.count("0/3 ") == 1
    training, test = bert.read_pairs(text)
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b in training])
    torch.manual_seed(0)
    held_out = next(bert.batches(test, tokenizer, 2048))
    torch.manual_seed(0)
    model = bert.Bert(tokenizer.get_vocab_size())
    steps = [list(islice(bert.batches(training, tokenizer), 2)) for _ in range(3)]
    expected = trained_by_hand(model, steps)(*held_out[0])
    for rank in "01":
        result = torch.load(tmp_path / rank, weights_only=False)
        found = result["model"](*held_out[0])
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
        metrics = bert.evaluate(result["model"], *held_out)
        assert metrics == {name: result[name] for name in metrics}


def test_alone_it_says_how_to_start_it():
    with pytest.raises(SystemExit, match="torchrun --nproc-per-node 2 several_processes.py"):
        several_processes.main()
