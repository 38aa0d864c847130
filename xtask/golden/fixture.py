"""Shared by the scripts: reproducible random values, and a writer whose bytes depend on the content
only.

A module, not a generator: running it writes nothing.
"""

import json
import os
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file

# One thread, so that sums are split the same way for every core count.
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


def rng_for(name):
    """A generator seeded by the name, so that a new case leaves every other case's values
    unchanged.

    `RandomState` because NumPy promises that its stream never changes.
    """
    return np.random.RandomState(zlib.crc32(name.encode()))


def normal(rng, shape, std=1.0, mean=0.0):
    """N(mean, std²) rounded to float32."""
    return np.asarray(rng.standard_normal(shape) * std + mean, dtype=np.float32)


def double(array):
    """The float32 array as a float64 torch tensor (exact)."""
    return torch.from_numpy(np.array(array, dtype=np.float64))


def require_finite(tensors):
    for key, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise SystemExit(f"{key} holds a value that is not finite")


def write_tensors(path, tensors, metadata=None):
    """Writes NumPy arrays as safetensors (which orders the keys itself) after checking that all are
    finite."""
    # Not ascontiguousarray: that turns a scalar into a vector of one.
    tensors = {key: np.array(value, order="C") for key, value in tensors.items()}
    require_finite(tensors)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file(tensors, path, metadata)
    os.chmod(path, 0o644)  # safetensors makes it private
    print(f"{path}: {len(tensors)} tensors, {os.path.getsize(path)} bytes")


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        if isinstance(value, list):
            # One case a line: a changed case is a changed line in the diff.
            lines = ",\n".join(json.dumps(item, allow_nan=False) for item in value)
            file.write(f"[\n{lines}\n]\n")
        else:
            file.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
    print(f"{path}: {os.path.getsize(path)} bytes")
