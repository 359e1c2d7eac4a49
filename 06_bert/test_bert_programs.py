"""The programs beside the model, and a model that is saved and loaded."""

import os
import subprocess
import sys
from pathlib import Path

import bert
import pytest
import real_bert
import several_processes
import torch
from test_bert import animals, loss_of
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


PROBE = """
import sys, torch, torch.distributed as dist
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bert, several_processes, test_bert

def probe(model, batches, steps, held_out):
    first = next(batches)
    start = {name: weight.clone() for name, weight in model.module.state_dict().items()}
    test_bert.loss_of(model, *first).backward()
    gradients = {name: weight.grad.clone() for name, weight in model.module.named_parameters()}
    batches = [first, *batches]
    assert len(batches) == steps
    curve = train(model, batches, steps, held_out)
    saved = start, first, gradients, held_out, model.module.state_dict()
    torch.save(saved, f"{dist.get_rank()}.pt")
    return curve

train, bert.train = bert.train, probe
several_processes.main(Path("text.txt"), epochs=2)
"""


def test_two_processes_have_the_gradients_of_one_and_end_alike(tmp_path):
    text = animals(tmp_path / "text.txt")
    (tmp_path / "probe.py").write_text(PROBE)
    options = "-m torch.distributed.run --standalone --nproc-per-node 2 probe.py".split()
    done = subprocess.run(
        [sys.executable, *options, HERE],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("masked words") == 1 and done.stderr.count("0/2 ") == 1
    both = zip(*(torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)))
    starts, batches, gradients, held_out, ends = both
    for pair in starts, gradients, held_out, ends:
        torch.testing.assert_close(*pair, rtol=0, atol=0)
    assert not torch.equal(batches[0][1], batches[1][1])  # each has its own
    assert not torch.equal(starts[0]["bias"], ends[0]["bias"])
    one = bert.Bert(len(starts[0]["bias"]))
    one.load_state_dict(starts[0])
    (sum(loss_of(one, *batch) for batch in batches) / 2).backward()
    for name, weight in one.named_parameters():
        torch.testing.assert_close(gradients[0][name], weight.grad, atol=1e-6, rtol=1e-4)
    training, test = bert.read_pairs(text)  # the held-out batch is that of main
    torch.manual_seed(0)
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b in training])
    expected = next(bert.batches(test, tokenizer, 2048))
    torch.testing.assert_close(held_out[0], expected, rtol=0, atol=0)


def test_alone_it_says_how_to_start_it():
    with pytest.raises(SystemExit, match="torchrun --nproc-per-node 2 several_processes.py"):
        several_processes.main()
