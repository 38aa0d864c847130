"""Golden metrics of sets of features by torch-fidelity 0.4 (Fréchet, kernel distance, precision and
recall, inception score), in float64.

Needs torch-fidelity: `pip install --no-deps torch-fidelity`. Its functions on features are called
directly. It imports torchvision for its own feature extractors only, so an empty module replaces it
if it is not installed. Density and coverage follow the code of their authors
(github.com/clovaai/generative-evaluation-prdc, prdc.py) in numpy, with exact differences; so does
the memorization score.

Writes crates/eval/tests/golden/metrics.safetensors and metrics.json ({"case", "kind", "expected"}).

  features: real [N, D], fake [M, D]; subsets_real, subsets_fake [S, n], the rows that
    torch-fidelity drew. Expected: frechet, kernel (per subset), precision, recall, density,
    coverage with 3 neighbors; memorized, memorized_expected.
  kernel: real, fake. Expected: kernel of all rows, with no diagonal in the sums and in extended
    precision.
  scores: logits [N, K]. Expected: inception_score (of attrs.splits parts, in order), deviation.
"""

import sys

sys.dont_write_bytecode = True

import importlib.util
from unittest import mock

import numpy as np
import torch

from fixture import double, normal, rng_for, write_json, write_tensors

if importlib.util.find_spec("torchvision") is None:
    for module in ["torchvision", "torchvision.datasets", "torchvision.models",
                   "torchvision.transforms", "torchvision.transforms.functional"]:
        sys.modules[module] = mock.MagicMock()
for module in ["tqdm"]:
    if importlib.util.find_spec(module) is None:
        sys.modules[module] = mock.MagicMock(tqdm=lambda items, **_: items)

from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric

OUT = "crates/eval/tests/golden/metrics"
K = 3
tensors = {}
cases = []


def distances(a, b):
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2))


def features(case, real, fake, subsets, size):
    real, fake = np.asarray(real, np.float32), np.asarray(fake, np.float32)
    r, f = double(real), double(fake)
    frechet = fid_statistics_to_metric(fid_features_to_statistics(r), fid_features_to_statistics(f),
                                       False)["frechet_inception_distance"]
    prc = prc_features_to_metric(f, r, prc_neighborhood=K, prc_batch_size=10000, save_cpu_ram=False,
                                 verbose=False)
    # Drawn as in kid_features_to_metric.
    rng = np.random.RandomState(2020)
    drawn = [(rng.choice(len(real), size, replace=False),
              rng.choice(len(fake), size, replace=False)) for _ in range(subsets)]
    kernel = [
        kernel_mmd(r.numpy()[a], f.numpy()[b], kid_kernel="poly", kid_kernel_poly_degree=3,
                   kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1)
        for a, b in drawn
    ]
    r, f = r.numpy(), f.numpy()
    own = distances(r, r)
    np.fill_diagonal(own, np.inf)
    radii = np.sort(own, axis=1)[:, K - 1]
    across = distances(r, f)
    density = (across <= radii[:, None]).sum(axis=0).mean() / K
    coverage = (across.min(axis=1) <= radii).mean()
    nearest = across.argmin(axis=0)
    memorized = (across.min(axis=0) < np.sort(own, axis=1)[nearest, 0]).mean()
    expected = []
    for i in range(len(r)):
        near = own[i].argmin()
        others = np.delete(own[near], i)
        expected.append(own[i, near] < others.min())
    tensors[f"{case}/real"], tensors[f"{case}/fake"] = real, fake
    if drawn:
        tensors[f"{case}/subsets_real"] = np.array([a for a, _ in drawn], np.int64)
        tensors[f"{case}/subsets_fake"] = np.array([b for _, b in drawn], np.int64)
    expected = {
        "frechet": frechet,
        "kernel": [float(v) for v in kernel],
        "precision": prc["precision"],
        "recall": prc["recall"],
        "density": float(density),
        "coverage": float(coverage),
        "memorized": float(memorized),
        "memorized_expected": float(np.mean(expected)),
    }
    cases.append({"case": case, "kind": "features", "expected": expected})


def scores(case, logits, splits):
    found = isc_features_to_metric(double(logits), splits=splits, shuffle=False)
    tensors[f"{case}/logits"] = logits
    expected = {"inception_score": found["inception_score_mean"],
                "deviation": found["inception_score_std"]}
    cases.append({"case": case, "kind": "scores", "splits": splits, "expected": expected})


def kernel(case, real, fake):
    tensors[f"{case}/real"], tensors[f"{case}/fake"] = real, fake
    x, y = real.astype(np.longdouble), fake.astype(np.longdouble)
    values = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    within = lambda a: values(a, a)[~np.eye(len(a), dtype=bool)].mean()
    expected = {"kernel": float(within(x) + within(y) - 2 * values(x, y).mean())}
    cases.append({"case": case, "kind": "kernel", "expected": expected})


def mixed(rng, rows, width, shift, spread=1.0):
    """Features like the output of a ReLU: correlated, nonnegative, many of them 0."""
    basis = rng_for("basis").standard_normal((width, width)) / np.sqrt(width)
    return np.maximum((rng.standard_normal((rows, width)) * spread) @ basis + shift, 0.0)


rng = rng_for("relu")
features("relu", mixed(rng, 150, 24, 0.3), mixed(rng, 130, 24, 0.5, 0.8), 4, 50)
rng = rng_for("same")
features("same", mixed(rng, 90, 16, 0.4), mixed(rng, 90, 16, 0.4), 4, 40)
# Far from the origin: where |a|² + |b|² − 2 a·b loses all its digits in single precision (and all
# but the first few of the kernel's cubes in double).
rng = rng_for("far")
features("far", normal(rng, (80, 8), 0.05, 300.0), normal(rng, (70, 8), 0.05, 300.02), 0, 0)
# Fewer rows than columns, so that no covariance has full rank.
rng = rng_for("few")
features("few", normal(rng, (12, 20)), normal(rng, (14, 20), 1.2), 2, 10)
# One set far smaller than the features are wide, and the other larger.
rng = rng_for("smaller")
features("few real", normal(rng, (6, 40)), normal(rng, (50, 40), 1.2), 0, 0)
features("few generated", normal(rng, (90, 40)), normal(rng, (9, 40), 0.7, 0.2), 0, 0)
# Half of the generated samples are nearly real ones.
rng = rng_for("copies")
real = mixed(rng, 100, 12, 0.2)
features("copies", real,
         np.concatenate([real[:30] + 1e-4 * rng.standard_normal((30, 12)),
                         mixed(rng, 30, 12, 0.2)]), 3, 40)
# A collapsed mode.
rng = rng_for("collapsed")
features("collapsed", mixed(rng, 80, 10, 0.3), mixed(rng, 60, 10, 0.3, 0.05), 3, 40)

# One outlier, whose square would take the digits of all other terms with it.
for scale in [1e3, 1e6, 1e9]:
    rng = rng_for(f"outlier {scale}")
    real, fake = mixed(rng, 60, 16, 0.3), mixed(rng, 60, 16, 0.3)
    real[7] *= scale
    kernel(f"outlier {scale:.0e}", real.astype(np.float32), fake.astype(np.float32))

rng = rng_for("scores")
scores("scores", normal(rng, (60, 5), 3.0), 4)
scores("sure", normal(rng, (40, 10), 40.0), 10)
scores("one class", np.tile(normal(rng, (1, 6), 2.0), (30, 1)), 3)

write_tensors(OUT + ".safetensors", tensors)
write_json(OUT + ".json", cases)
