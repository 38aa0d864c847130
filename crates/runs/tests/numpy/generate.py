"""Writes `*.npz` here: statistics of features as pytorch-fid saves them (`numpy.savez`), and in the
other forms that NumPy has.

`artifacts/npz.rs` tests that they are read: mu is 0.5, 1.5, …; sigma is [i, j] -> 10 i + j + 0.25.
"""

from pathlib import Path

import numpy as np

folder = Path(__file__).parent
mu = np.arange(3) + 0.5
sigma = np.add.outer(10.0 * np.arange(3), np.arange(3)) + 0.25
np.savez(folder / "savez.npz", mu=mu, sigma=sigma)
np.savez_compressed(folder / "compressed.npz", mu=mu, sigma=sigma)
# Compressed float32 in Fortran order, and an array that is not wanted, of a type that is not read.
np.savez_compressed(
    folder / "mixed.npz",
    names=np.array(["a", "b"]),
    sigma=np.asfortranarray(sigma.astype(np.float32)),
    mu=mu.astype(np.float32),
)
