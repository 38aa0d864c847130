"""Golden normalization layers, reparametrized weights, minibatch layers, attention and conditions
by PyTorch in float64.

Spectral, weight, instance and layer norm are PyTorch's; the other layers are written out here by
the formula of the paper or, if noted, of the authors' code.

Writes crates/nn/tests/golden/stabilizers.safetensors and stabilizers.json ({"case", "layer",
"attrs"}). Per case, images NHWC, inputs F32, expected values F64:
  state/NAME: parameters and buffers in PyTorch's layouts, as in a state dict of the network.
  x; condition, if the layer reads one; reference and reference_condition, if it needs them.
  out; gout -> dx, d/NAME (gradients of <gout, out>); second/x and second/NAME (gradients of
    |dx|^2), if there is a second order.
  after/NAME: buffers that the pass updates.
  start/NAME: parameters after the data-dependent initialization of the published code.
"""

import sys

sys.dont_write_bytecode = True

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fixture import double, normal, rng_for, write_json, write_tensors

OUT = "crates/nn/tests/golden/"
tensors = {}
cases = []


def nchw(x):
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def nhwc(x):
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def rows(y, like):
    """A vector per sample, repeated at every pixel of an NHWC image."""
    return y if like.ndim == 2 else y[:, None, None, :].expand(-1, like.shape[1], like.shape[2], -1)


def case(name, layer, attrs, shape, function, params, buffers=(), given=(), start=None, std=1.0):
    """`function(x, values, given)` is the layer on NHWC; `params` and `buffers` map names to arrays
    or shapes."""
    rng = rng_for(name)
    draw = lambda spec: normal(rng, spec, 0.5) if isinstance(spec, tuple) else spec
    params = {key: draw(spec) for key, spec in dict(params).items()}
    buffers = {key: draw(spec) for key, spec in dict(buffers).items()}
    given = {key: draw(spec) for key, spec in dict(given).items()}
    x = normal(rng, shape, std)
    values = {key: double(value).requires_grad_() for key, value in params.items()}
    values |= {key: double(value) for key, value in buffers.items()}
    tracked = double(x).requires_grad_()
    out = function(tracked, values, {key: double(value) for key, value in given.items()})
    gout = normal(rng, tuple(out.shape))
    wanted = [tracked] + [values[key] for key in params]
    dx, *grads = torch.autograd.grad(out, wanted, double(gout), create_graph=True)
    record = {"x": x, "out": out, "gout": gout, "dx": dx, **given}
    record |= {f"state/{key}": value for key, value in {**params, **buffers}.items()}
    record |= {f"d/{key}": value for key, value in zip(params, grads)}
    if dx.requires_grad:
        second = torch.autograd.grad(dx.square().sum(), wanted, allow_unused=True)
        named = zip(["x", *params], second)
        record |= {f"second/{key}": value
                   for key, value in named if value is not None and value.abs().max() > 0}
    record |= {f"after/{key}": values[key] for key in buffers}
    if start:
        record |= {f"start/{key}": value for key, value in start(double(x), values).items()}
    for key, value in record.items():
        tensors[f"{name}/{key}"] = (value.numpy(force=True) if isinstance(value, torch.Tensor)
                                    else value)
    cases.append({"case": name, "layer": layer, "attrs": attrs})


def module(layer, parts):
    """A PyTorch module as a function of its parameters and buffers."""

    def function(x, values, _):
        own = {key.removeprefix("l."): value for key, value in values.items()}
        out = torch.func.functional_call(layer, own, (nchw(x),))
        # PyTorch 2.15 reads the gradient of an instance norm of one image as if it were contiguous,
        # which is wrong for a permuted NHWC tensor. Some layers' second order passes no gradient.
        out.register_hook(lambda gradient: None if gradient is None else gradient.contiguous())
        return nhwc(out)

    shapes = dict(layer.named_parameters()) | dict(layer.named_buffers())
    return function, {f"l.{part}": tuple(shapes[part].shape) for part in parts}


def unit(shape, name):
    v = normal(rng_for(name), shape)
    return (v / np.linalg.norm(v)).astype(np.float32)


def affine_layers():
    """The three kinds of layers with weights: constructor, our attributes, input shape."""
    conv = dict(kernel_size=(3, 4), stride=(2, 1), padding=(1, 2))
    attrs = {"kernel": [3, 4], "stride": [2, 1], "padding": [1, 2]}
    yield "linear", lambda: nn.Linear(6, 4), {}, (5, 6)
    yield "conv2d", lambda: nn.Conv2d(3, 4, **conv), attrs, (2, 5, 4, 3)
    attrs = {**attrs, "output_padding": [1, 0]}
    transposed = lambda: nn.ConvTranspose2d(3, 5, **conv, output_padding=(1, 0))
    yield "conv_transpose2d", transposed, attrs, (2, 3, 4, 3)


def reparametrized():
    for kind, make, attrs, shape in affine_layers():
        layer = torch.nn.utils.spectral_norm(make().double())
        function, _ = module(layer, [])
        sizes = {key: tuple(value.shape)
                 for key, value in (*layer.named_parameters(), *layer.named_buffers())}
        params = {f"l.{key}": sizes[key] for key in ["weight_orig", "bias"]}
        name = f"spectral_norm.{kind}"
        buffers = {f"l.{key}": unit(sizes[key], f"{name}:{key}")
                   for key in ["weight_u", "weight_v"]}
        case(name, kind, {**attrs, "norm": "spectral"}, shape, function, params, buffers)
    for kind, make, attrs, shape in affine_layers():
        dim = 1 if kind == "conv_transpose2d" else 0
        layer = torch.nn.utils.weight_norm(make().double(), dim=dim)
        function, params = module(layer, ["weight_g", "weight_v", "bias"])
        case(f"weight_norm.{kind}", kind, {**attrs, "norm": "weight"}, shape, function, params)


def images():
    """Linear layers to and from an image, with biases and spectral norm: the units in PyTorch's
    order."""
    layer = torch.nn.utils.spectral_norm(nn.Linear(3, 12).double())
    function, _ = module(layer, [])
    to_image = lambda x, values, given: nhwc(function(x, values, given).reshape(-1, 2, 3, 2))
    name = "spectral_norm.to_image"
    buffers = {"l.weight_u": unit((12,), name + ":u"), "l.weight_v": unit((3,), name + ":v")}
    case(name, "to_image", {"image": [3, 2, 2]}, (4, 3), to_image,
         {"l.weight_orig": (12, 3), "l.bias": (12,)}, buffers)
    layer = torch.nn.utils.spectral_norm(nn.Linear(12, 2).double())
    flat, _ = module(layer, [])
    from_image = lambda x, values, given: flat(nchw(x).flatten(1), values, given)
    name = "spectral_norm.from_image"
    buffers = {"l.weight_u": unit((2,), name + ":u"), "l.weight_v": unit((12,), name + ":v")}
    params = {"l.weight_orig": (2, 12), "l.bias": (2,)}
    case(name, "from_image", {"image": [3, 2, 2]}, (4, 3, 2, 2), from_image, params, buffers)


def norms():
    for name, shape, eps in [("instance_norm.wide", (2, 3, 2, 6), 1e-5),
                             ("instance_norm.eps", (1, 4, 5, 3), 1e-1)]:
        function, params = module(nn.InstanceNorm2d(shape[3], eps=eps, affine=True).double(),
                                  ["weight", "bias"])
        case(name, "instance_norm", {"eps": eps}, shape, function, params)
    for name, shape, eps in [("layer_norm.image", (3, 2, 4, 5), 1e-5),
                             ("layer_norm.vector", (4, 7), 1e-2)]:
        size = [shape[3], *shape[1:3]] if len(shape) == 4 else [shape[1]]
        function, params = module(nn.LayerNorm(size, eps=eps).double(), ["weight", "bias"])
        case(name, "layer_norm", {"eps": eps, "shape": list(shape[1:])}, shape, function, params)


def virtual_batch_norms():
    """As in openai/improved-gan, imagenet/ops.py: the means of x and of x^2 blended, the variance
    their difference."""

    def normalized(x, mean, mean_sq, gamma, beta, eps):
        return (x - mean) / (eps + mean_sq - mean**2).sqrt() * gamma + beta

    def both(reference, x, gamma, beta, eps):
        pixels = tuple(range(1, x.ndim - 1))
        every = (0, *pixels)
        mean, mean_sq = (reference.mean(every, keepdim=True),
                         (reference**2).mean(every, keepdim=True))
        new = 1 / (len(reference) + 1)
        mean_of = lambda x: x if x.ndim == 2 else x.mean(pixels, keepdim=True)
        own, own_sq = mean_of(x), mean_of(x**2)
        blended = new * own + (1 - new) * mean, new * own_sq + (1 - new) * mean_sq
        return (normalized(reference, mean, mean_sq, gamma, beta, eps),
                normalized(x, *blended, gamma, beta, eps))

    def dense(x, v, given):
        reference, x = both(given["reference"], x, v["a.weight"], v["a.bias"], 1e-2)
        reference, x = F.leaky_relu(reference, 0.2), F.leaky_relu(x, 0.2)
        reference, x = reference @ v["l.weight"].T, x @ v["l.weight"].T
        return both(reference, x, v["b.weight"], v["b.bias"], 1e-2)[1]

    params = {"a.weight": (4,), "a.bias": (4,), "l.weight": (3, 4), "b.weight": (3,),
              "b.bias": (3,)}
    case("virtual_batch_norm.dense", "vbn_dense", {"eps": 1e-2}, (3, 4), dense, params,
         given={"reference": (5, 4)})

    def image(x, v, given):
        reference = given["reference"]
        reference = torch.cat([reference, rows(given["reference_condition"], reference)], -1)
        x = torch.cat([x, rows(given["condition"], x)], -1)
        conv = lambda x: nhwc(F.conv2d(nchw(x), v["l.weight"], padding=1))
        reference, x = both(conv(reference), conv(x), v["a.weight"], v["a.bias"], 1e-3)
        return both(torch.tanh(reference), torch.tanh(x), v["b.weight"], v["b.bias"], 1e-3)[1]

    params = {"l.weight": (5, 4, 3, 3), "a.weight": (5,), "a.bias": (5,), "b.weight": (5,),
              "b.bias": (5,)}
    given = {"reference": (4, 3, 2, 3), "reference_condition": (4, 1), "condition": (2, 1)}
    case("virtual_batch_norm.image", "vbn_image", {"eps": 1e-3}, (2, 3, 2, 3), image, params,
         given=given)


def maxouts():
    for name, shape, pieces in [("maxout.dense", (3, 10), 5), ("maxout.image", (2, 2, 3, 6), 2)]:
        # A weight before the layer, so that there is a second order.
        width = shape[-1]

        def function(x, v, _):
            y = x @ v["l.weight"].T if x.ndim == 2 else nhwc(F.conv2d(nchw(x), v["l.weight"]))
            return torch.tanh(y).unflatten(-1, (-1, pieces)).max(-1).values

        weight = (width, width) if len(shape) == 2 else (width, width, 1, 1)
        case(name, "maxout", {"pieces": pieces}, shape, function, {"l.weight": weight})


def minibatch():
    for name, shape, group in [
        ("minibatch_stddev.image", (6, 2, 3, 4), 3),
        ("minibatch_stddev.whole", (5, 2, 2, 3), 4),
        ("minibatch_stddev.dense", (6, 5), 3),
    ]:
        # Karras et al. 2018, networks.py: minibatch_stddev_layer.
        def function(x, v, _):
            n = len(x)
            size = group if n % group == 0 else n
            y = x.reshape(size, n // size, -1)
            y = ((y - y.mean(0, keepdim=True)) ** 2).mean(0)
            y = (y + 1e-8).sqrt().mean(1)
            return torch.cat([x, rows(y.repeat(size)[:, None], x)], -1)

        case(name, "minibatch-stddev", {"group": group}, shape, function, {})

    inputs, kernels, dims = 5, 4, 3

    def distances(x, t):
        m = torch.einsum("na,abc->nbc", x, t)
        return (m[:, None] - m[None]).abs().sum(-1)

    def near(x, t):
        others = 1 - torch.eye(len(x), dtype=x.dtype)
        return ((-distances(x, t)).exp() * others[:, :, None]).sum(1)

    def paper(x, v, _):
        return torch.cat([x, near(x, v["l.T"])], 1)

    def normalized(v):
        theta = v["l.theta"]
        return theta * (v["l.log_weight_scale"].exp() / theta.square().sum(0).sqrt())

    def code(x, v, _):
        return torch.cat([x, near(x, normalized(v)) + v["l.b"]], 1)

    def start(x, v):
        # openai/improved-gan, mnist_svhn_cifar10/nn.py: MinibatchLayer with init=True.
        d = distances(x, normalized(v)) + 1e6 * torch.eye(len(x), dtype=x.dtype)[:, :, None]
        scale = 0.5 * d.min(1).values.mean(0)
        f = (-d / scale).exp().sum(1)
        return {"l.log_weight_scale": v["l.log_weight_scale"] - scale.log()[:, None],
                "l.b": -f.mean(0)}

    attrs = {"kernels": kernels, "dims": dims}
    shape = (6, inputs)
    params = {"l.T": (inputs, kernels, dims)}
    case("minibatch_discrimination.paper", "minibatch-discrimination", {**attrs, "form": "paper"},
         shape, paper, params, std=0.4)

    def mean(x, v, _):
        return torch.cat([x, near(x, v["l.T"]) / (len(x) - 1)], 1)

    case("minibatch_discrimination.mean", "minibatch-discrimination", {**attrs, "form": "mean"},
         shape, mean, params, std=0.4)
    params = {"l.theta": (inputs, kernels, dims), "l.log_weight_scale": (kernels, dims),
              "l.b": (kernels,)}
    attrs = {**attrs, "form": "code"}
    case("minibatch_discrimination.code", "minibatch-discrimination", attrs, shape, code, params,
         start=start, std=0.4)


def attention():
    def attended(x, f, g, h, gamma):
        # o_j = sum_i beta_ji h(x_i), beta_ji = softmax over i of <f(x_i), g(x_j)>
        n, height, width, channels = x.shape
        points = x.reshape(n, -1, channels)
        scores = torch.einsum("nic,njc->nji", points @ f.T, points @ g.T)
        return x + gamma * (scores.softmax(-1) @ (points @ h.T)).reshape(x.shape)

    def plain(x, v, _):
        f, g, h = (v[f"l.{key}.weight"].flatten(1) for key in "fgh")
        return attended(x, f, g, h, v["l.gamma"])

    for name, shape in [("self_attention.16", (2, 3, 2, 16)), ("self_attention.3", (1, 4, 3, 3))]:
        channels, narrow = shape[3], max(shape[3] // 8, 1)
        params = {"l.f.weight": (narrow, channels, 1, 1), "l.g.weight": (narrow, channels, 1, 1)}
        params |= {"l.h.weight": (channels, channels, 1, 1), "l.gamma": (1,)}
        case(name, "self_attention", {"channels": channels}, shape, plain, params)


def conditions():
    def embed(x, v, given):
        return torch.cat([x, rows(given["condition"] @ v["l.weight"].T, x)], -1)

    def projection(x, v, given):
        embedded = given["condition"] @ v["l.embed.weight"].T
        return x @ v["l.linear.weight"].T + v["l.linear.bias"] + (embedded * x).sum(1, keepdim=True)

    for name, shape in [("concat.dense", (3, 4)), ("concat.image", (2, 3, 2, 4))]:
        joined = lambda x, v, given: torch.cat([x, rows(given["condition"], x)], -1)
        case(name, "concat", {}, shape, joined, {}, given={"condition": (shape[0], 5)})
    for name, shape in [("embed.dense", (3, 4)), ("embed.image", (2, 3, 2, 4))]:
        case(name, "embed", {"inputs": 5, "features": 3}, shape, embed, {"l.weight": (3, 5)},
             given={"condition": (shape[0], 5)})
    params = {"l.linear.weight": (1, 6), "l.linear.bias": (1,), "l.embed.weight": (6, 4)}
    attrs = {"features": 6, "inputs": 4}
    case("projection", "projection", attrs, (3, 6), projection, params, given={"condition": (3, 4)})
    for kind in ["sum", "average"]:
        pooled = lambda x, v, _: x.sum((1, 2)) if kind == "sum" else x.mean((1, 2))
        case(f"global_pool.{kind}", f"global-{kind}", {}, (2, 3, 4, 5), pooled, {})


if __name__ == "__main__":
    # Both are "deprecated" in favour of parametrizations with other names in the state dict.
    warnings.filterwarnings("ignore", category=FutureWarning)
    reparametrized()
    images()
    norms()
    virtual_batch_norms()
    maxouts()
    minibatch()
    attention()
    conditions()
    write_tensors(OUT + "stabilizers.safetensors", tensors)
    write_json(OUT + "stabilizers.json", cases)
