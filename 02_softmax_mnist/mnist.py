"""The files of MNIST (LeCun et al., 1998) for softmax.py: fetched, checked, read.

`python mnist.py` fills the folder data/ beside it, and so does the first run of softmax.py.
"""

import gzip
import os
import socket
import sys
from pathlib import Path

import numpy as np
import torch

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
SHA256 = """
440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609  train-images-idx3-ubyte.gz
3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c  train-labels-idx1-ubyte.gz
8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6  t10k-images-idx3-ubyte.gz
f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6  t10k-labels-idx1-ubyte.gz
"""
FILES = {line.split()[1]: line.split()[0] for line in SHA256.strip().splitlines()}


def read_idx(path):
    """The array in an IDX file of unsigned bytes, gzipped or not; ValueError if it is broken.

    The format: two zero bytes, 8 (for unsigned bytes), the number of dimensions; then every size
    as a big-endian 32-bit integer; then the bytes.
    """
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except Exception as error:  # EOFError, BadGzipFile, zlib.error
        raise ValueError(f"{path} is a damaged gzip file: get it again") from error
    if data[:3] != b"\0\0\x08" or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes: get it again")
    sizes = np.frombuffer(data, ">u4", data[3], 4).tolist()
    array = np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes))
    if array.size != np.prod(sizes, dtype=float):
        raise ValueError(f"{path} promises {sizes} bytes but holds {array.size}: get it again")
    return array.reshape(sizes)


def read_mnist(folder):
    """Train images (N, 28, 28) and labels (N,), test images and labels: arrays of bytes."""
    arrays = []
    for name in FILES:
        path = next((p for p in (folder / name, folder / name[:-3]) if p.exists()), None)
        if path is None:
            raise ValueError(f"there is no {name[:-3]}, gzipped or not, in {folder}")
        arrays.append(read_idx(path))
    for images, labels in (arrays[:2], arrays[2:]):
        if labels.ndim != 1 or images.shape != (len(labels), 28, 28):
            raise ValueError(
                f"{folder} must hold one label for each image of 28 x 28, not labels of shape "
                f"{labels.shape} and images of shape {images.shape}"
            )
        if not labels.size or labels.max() > 9:
            raise ValueError(f"{folder} must hold labels from 0 to 9")
    return arrays


def download(folder, mirrors=MIRRORS, wait=10):
    """True once the four files are in the folder: those that are there stay, whatever they hold;
    those that are missing come from a mirror and appear only whole, with the right SHA-256.

    A silent mirror is left after `wait` seconds. False if no mirror has them all.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(wait)
    try:
        return any(_from_mirror(folder, mirror) for mirror in mirrors)
    finally:
        socket.setdefaulttimeout(before)


def _from_mirror(folder, mirror):
    try:
        folder.mkdir(exist_ok=True)
        for name, sha256 in FILES.items():
            if not (folder / name).exists() and not (folder / name[:-3]).exists():
                torch.hub.download_url_to_file(mirror + name, str(folder / name), sha256, False)
    except Exception:  # no network, 404, cut or altered on the way: the next mirror may do
        if folder.is_dir() and not os.listdir(folder):
            folder.rmdir()
        return False
    return True


def load(folder):
    """read_mnist of the folder or, if it is None, of data/, downloaded when needed, and the name
    of the folder; None if there is neither a folder nor a download."""
    cache = Path(__file__).with_name("data")
    if folder or download(cache):
        return *read_mnist(folder or cache), str(folder or cache.name)
    return None


if __name__ == "__main__":
    try:
        if not download(Path(__file__).with_name("data")):
            sys.exit("mnist.py: no mirror answers with the right files; is there a network?")
    except KeyboardInterrupt:
        sys.exit("mnist.py: interrupted; run it again for the files that are missing")
