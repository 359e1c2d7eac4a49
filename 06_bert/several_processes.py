"""Trains the BERT of bert.py in several processes, on the cores or the GPUs of some machines.

Run: torchrun --nproc-per-node 2 several_processes.py --epochs 1
Each process computes the gradient of its share of the batches, and DistributedDataParallel averages
the gradients: all processes keep the same weights. P processes are like batches P times as large.
"""

import os
from functools import partial
from itertools import islice
from pathlib import Path

import bert
import torch
import torch.distributed as dist
import tyro
from torch.nn.parallel import DistributedDataParallel


def main(text: Path | None = None, epochs: int = 6, seed: int = 0):
    """Trains and evaluates as bert.py does.

    Args:
        text: UTF-8 text; without it, docstrings.
        epochs: Passes over the training set.
        seed: Of the weights, the order of the pairs and the masks.
    """
    if "RANK" not in os.environ:
        raise SystemExit("Start it so: torchrun --nproc-per-node 2 several_processes.py")
    dist.init_process_group()  # gloo between CPUs, nccl between GPUs
    rank, processes = dist.get_rank(), dist.get_world_size()
    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(dist.get_node_local_rank())
    if rank > 0:
        bert.tqdm = partial(bert.tqdm, disable=True)  # only the first process prints

    training, test = bert.read_pairs(text)
    tokenizer = bert.train_tokenizer([f"{a} {b}" for a, b in training])
    torch.manual_seed(0)
    held_out = next(bert.batches(test, tokenizer, 2048))
    torch.manual_seed(seed)  # the same in all processes: they draw the same weights and batches
    model = bert.Bert(tokenizer.get_vocab_size()).to(bert.DEVICE)

    steps = len(training) // (128 * processes)  # of an epoch
    data = (
        batch
        for _ in range(epochs)
        # of two processes, each takes every second batch
        for batch in islice(bert.batches(training, tokenizer), rank, steps * processes, processes)
    )
    curve = bert.train(DistributedDataParallel(model), data, epochs * steps, held_out)
    if rank == 0:
        for label, accuracy in curve[epochs * steps].items():
            print(f"{label}: accuracy {accuracy:.3f}")
    dist.destroy_process_group()
    return curve[epochs * steps] | {"model": model, "tokenizer": tokenizer}


if __name__ == "__main__":
    tyro.cli(main)
