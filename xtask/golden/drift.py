"""How far training in float32 drifts from float64: runs of three games in PyTorch, with which the
ignored test of crates/train/tests/drift.rs compares this program's. Not a generator of golden
files.

Usage: drift.py FOLDER SEEDS STEPS. The games are those of objectives.py that are wide enough for
Winograd's convolutions: the default losses, hinge with spectral norm, and Wasserstein with gradient
penalty. FOLDER gets drift.safetensors, with the tensors that objectives.py writes of each case, and
drift.json, a list of {"case", "game", "changes", "steps", "drift"}. "drift" is that of PyTorch's
float32: |weights - float64's| / |float64's|, the norms over all weights of both networks.
"""

import sys
import warnings

sys.dont_write_bytecode = True

import numpy as np
import torch

import objectives
from dcgan import state
from fixture import write_json, write_tensors


def distance(run, exact):
    weights = [key for key in exact if key.endswith((".weight", ".weight_orig", ".bias"))]
    norm = lambda values: np.sqrt(sum((value**2).sum() for value in values))
    return float(norm([run[key] - exact[key] for key in weights])
                 / norm([exact[key] for key in weights]))


def main(folder, seeds, steps):
    warnings.filterwarnings("ignore")
    objectives.resize(32, 16, steps)
    tensors = {f"real/16/{i}": objectives.images(i) for i in range(2 * steps)}
    cases = []
    for game in objectives.wide_cases():
        name, keys, *_ = game
        for seed in range(seeds):
            _, exact = objectives.run(game, seed, torch.float64)
            _, single = objectives.run(game, seed, torch.float32)
            case = f"{name}-{seed}"
            for letter, net in zip("gd", objectives.networks(game, seed)):
                tensors |= {f"{case}/{letter}/{key}": value
                            for key, value in state(net, np.float32).items()}
            tensors |= {f"{case}/final_{key}": value
                        for key, value in objectives.narrow(exact).items()}
            cases.append({"case": case, "game": name, "changes": list(keys.items()),
                          "steps": steps, "drift": distance(single, exact)})
    write_tensors(f"{folder}/drift.safetensors", tensors)
    write_json(f"{folder}/drift.json", cases)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
