"""Golden guided gradients and a logistic regression, in float64.

Writes crates/eval/tests/golden/interpret.safetensors (F32, expectations rounded once). Images NHWC.
  NAME/state/KEY: parameters and buffers in PyTorch's layouts; NAME/x [N, H, W, C]; NAME/units [N,
    3] I64 (row, column, feature), the strongest unit of a feature in each image; NAME/gradient [N,
    H, W, C]: guided backpropagation of a 1 at each unit, where rectifiers pass max(g, 0) if their
    input was positive (Springenberg et al. 2015; Radford et al. 2016 for the leaky ones).
  logistic/rows [n, k], logistic/truths [n] I64, logistic/c, logistic/weights [k], logistic/bias:
    the minimum of 0.5 |w|^2 + c sum ln(1 + exp(-y (w x + b))), found by PyTorch's derivatives down
    to a gradient of 1e-12.
"""

import sys

sys.dont_write_bytecode = True

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fixture import double, normal, rng_for, write_tensors

tensors = {}


class Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, slope * x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return torch.where((x > 0) & (gradient > 0), gradient, 0), None


class Rectifier(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x):
        return Guided.apply(x, self.slope)


def case(name, layers):
    """The units are those of the last layer, features 0, 1, ... image by image."""
    rng = rng_for(name)
    net = nn.Sequential(*layers).double().eval()
    state = {}
    for key, value in net.state_dict().items():
        if key.endswith("num_batches_tracked"):
            continue
        drawn = normal(rng, tuple(value.shape), 0.3)
        state[key] = np.abs(drawn) + np.float32(0.5) if key.endswith("running_var") else drawn
        value.copy_(double(state[key]))
        tensors[f"{name}/state/main.{key}"] = state[key]
    x = normal(rng, (3, 12, 12, 3))
    tracked = double(x).requires_grad_()
    out = net(tracked.permute(0, 3, 1, 2))
    units = []
    for i, maps in enumerate(out.detach()):
        feature = i % maps.shape[0]
        row, column = divmod(int(maps[feature].argmax()), maps.shape[2])
        assert maps[feature, row, column] > 0
        units.append([row, column, feature])
    chosen = sum(out[i, f, r, c] for i, (r, c, f) in enumerate(units))
    (gradient,) = torch.autograd.grad(chosen, tracked)
    assert all(part.abs().max() > 0 for part in gradient)
    tensors[f"{name}/x"] = x
    tensors[f"{name}/units"] = np.array(units, dtype=np.int64)
    tensors[f"{name}/gradient"] = gradient.numpy().astype(np.float32)


def logistic():
    rng = rng_for("logistic")
    n, k, c = 60, 7, 0.7
    # Rectified, like the features of a generator; some rows are on the wrong side of the plane.
    rows = np.maximum(normal(rng, (n, k)), 0)
    truths = ((rows @ normal(rng, (k,)) + normal(rng, (n,), 0.7)) > 0.1).astype(np.int64)
    x, y = double(rows), torch.from_numpy(truths * 2.0 - 1.0)
    def value(at):
        w, b = at[:-1], at[-1]
        return 0.5 * w.square().sum() + c * F.softplus(-y * (x @ w + b), threshold=600).sum()

    at = torch.zeros(k + 1, dtype=torch.float64)
    # Convex, and quadratic near its minimum: Newton's method converges from half steps on.
    for i in range(60):
        gradient = torch.func.grad(value)(at)
        newton = torch.linalg.solve(torch.func.hessian(value)(at), gradient)
        at = at - (0.5 if i < 40 else 1.0) * newton
    assert torch.func.grad(value)(at).abs().max() < 1e-12
    found = at.numpy()
    tensors["logistic/rows"], tensors["logistic/truths"], tensors["logistic/c"] = (
        rows, truths, np.float32(c))
    tensors["logistic/weights"], tensors["logistic/bias"] = (found[:-1].astype(np.float32),
                                                             found[-1].astype(np.float32))


case("leaky", [
    nn.Conv2d(3, 5, 4, 2, 1, bias=False), Rectifier(0.2),
    nn.Conv2d(5, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), Rectifier(0.2),
    nn.Conv2d(6, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), Rectifier(0.2),
])
case("pooled", [
    nn.Conv2d(3, 5, 3, 1, 1), Rectifier(0.0), nn.MaxPool2d(2),
    nn.Conv2d(5, 4, 3, 1, 1), nn.Tanh(),
    nn.Conv2d(4, 4, 3, 1, 1), Rectifier(0.0),
])
logistic()
write_tensors("crates/eval/tests/golden/interpret.safetensors", tensors)
