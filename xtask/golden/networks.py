"""Golden layers, Adam steps and complete networks by PyTorch in float64, from float32 parameters
and inputs.

Writes to crates/nn/tests/golden:

layers.safetensors, layers.json ({"case", "layer", "attrs"}). Parameters have PyTorch's layouts
(linear [out, in], convolution OIHW, transposed convolution IOHW), images are NHWC; inputs are F32,
expected values F64.
  linear, conv2d, conv_transpose2d: x, weight, bias -> out; gout -> dx, dweight, dbias (gradients of
    <gout, out>).
  batch_norm2d: weight, bias; three batches in training mode x/i -> out/i and, after each,
    running_mean/i, running_var/i; gout/i -> dx/i, dweight/i, dbias/i of that batch alone;
    num_batches_tracked (I64) at the end; then eval/x -> eval/out under the running statistics,
    eval/gout -> eval/dx, eval/dweight, eval/dbias.
  adam: param/NAME, grad/STEP/NAME -> after/STEP/NAME; exp_avg/NAME and exp_avg_sq/NAME after the
    last step.

torch64-g.safetensors, torch64-d.safetensors, torch32-g.safetensors, torch32-d.safetensors: state
dicts of the pytorch/examples networks as PyTorch saves them (F32, num_batches_tracked I64): 64x64x3
with four levels, 32x32x1 with three.

networks.safetensors, networks.json: per network z [N, latent] -> image_eval and image_train [N, H,
W, C], and x [N, H, W, C] -> logits_eval and logits_train [N, 1]; "train" normalizes by the batch,
"eval" by the running statistics.
"""

import sys

sys.dont_write_bytecode = True

import numpy as np
import torch
from torch import nn

from dcgan import discriminator, fill, generator, initialize, state
from fixture import double, normal, rng_for, write_json, write_tensors

OUT = "crates/nn/tests/golden/"
tensors = {}
cases = []


def record(case, **values):
    for key, value in values.items():
        key = key.replace("__", "/")
        tensors[f"{case}/{key}"] = (value.numpy(force=True) if isinstance(value, torch.Tensor)
                                    else value)


def nchw(x):
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def nhwc(x):
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def pass_through(layer, name, shape, std=1.0, mean=0.0):
    """Draws an input and an output gradient; returns x, out, gout, dx, dweight, dbias."""
    rng = rng_for(name)
    x = normal(rng, shape, std, mean)
    tracked = double(x).requires_grad_()
    out = nhwc(layer(nchw(tracked)))
    gout = normal(rng, tuple(out.shape))
    dx, dweight, dbias = torch.autograd.grad(out, [tracked, layer.weight, layer.bias], double(gout))
    return {"x": x, "out": out, "gout": gout, "dx": dx, "dweight": dweight, "dbias": dbias}


def parameters(layer, name, weight_std=0.5, weight_mean=0.0):
    rng = rng_for(name + ":parameters")
    weight = normal(rng, tuple(layer.weight.shape), weight_std, weight_mean)
    bias = normal(rng, tuple(layer.bias.shape))
    layer.double()
    fill(layer.weight, weight)
    fill(layer.bias, bias)
    return {"weight": weight, "bias": bias}


def layers():
    conv = lambda kernel, stride, padding, **more: {"kernel": kernel, "stride": stride,
                                                    "padding": padding, **more}
    table = [
        ("linear.5x3", "linear", (4, 5), nn.Linear(5, 3), {}),
        ("linear.100x1", "linear", (1, 100), nn.Linear(100, 1), {}),
        ("linear.17x33", "linear", (3, 17), nn.Linear(17, 33), {}),
    ]
    for name, shape, cout, attrs in [
        ("dcgan4", (2, 8, 6, 3), 5, conv([4, 4], [2, 2], [1, 1])),
        ("dcgan5", (1, 7, 8, 1), 4, conv([5, 5], [2, 2], [2, 2])),
        ("head", (3, 4, 4, 6), 1, conv([4, 4], [1, 1], [0, 0])),
        ("same3", (2, 5, 4, 4), 17, conv([3, 3], [1, 1], [1, 1])),
        ("oblong", (1, 6, 9, 2), 3, conv([3, 5], [1, 2], [1, 2])),
    ]:
        layer = nn.Conv2d(shape[3], cout, attrs["kernel"], attrs["stride"], attrs["padding"])
        table.append((f"conv2d.{name}", "conv2d", shape, layer, attrs))
    for name, shape, cout, attrs in [
        ("dcgan4", (2, 4, 3, 5), 3, conv([4, 4], [2, 2], [1, 1], output_padding=[0, 0])),
        ("dcgan5", (1, 4, 4, 3), 1, conv([5, 5], [2, 2], [2, 2], output_padding=[1, 1])),
        ("stem", (3, 1, 1, 8), 6, conv([4, 4], [1, 1], [0, 0], output_padding=[0, 0])),
        ("same3", (1, 4, 5, 17), 4, conv([3, 3], [1, 1], [1, 1], output_padding=[0, 0])),
        ("oblong", (1, 3, 4, 2), 3, conv([3, 5], [1, 2], [1, 2], output_padding=[0, 1])),
    ]:
        layer = nn.ConvTranspose2d(shape[3], cout, attrs["kernel"], attrs["stride"],
                                   attrs["padding"], attrs["output_padding"])
        table.append((f"conv_transpose2d.{name}", "conv_transpose2d", shape, layer, attrs))
    for name, kind, shape, layer, attrs in table:
        given = parameters(layer, name)
        record(name, **given, **pass_through(layer, name, shape))
        cases.append({"case": name, "layer": kind, "attrs": attrs})


def batch_norms():
    for name, shape, eps, momentum in [
        ("batch_norm2d.default", (4, 3, 5, 6), 1e-5, 0.1),
        ("batch_norm2d.single", (2, 1, 2, 1), 1e-5, 0.1),
        ("batch_norm2d.wide", (2, 2, 3, 17), 1e-8, 0.1),
        ("batch_norm2d.options", (3, 2, 2, 4), 1e-2, 0.7),
    ]:
        layer = nn.BatchNorm2d(shape[3], eps=eps, momentum=momentum)
        record(name, **parameters(layer, name, weight_std=0.3, weight_mean=1.0))
        for i in range(3):
            # Batches that differ in mean and spread, so that the order of the running averages
            # matters.
            values = pass_through(layer, f"{name}:{i}", shape, std=1.0 + i, mean=0.5 * i)
            values |= {"running_mean": layer.running_mean.clone(),
                       "running_var": layer.running_var.clone()}
            record(name, **{f"{key}__{i}": value for key, value in values.items()})
        layer.eval()
        record(name,
               **{f"eval__{key}": value
                  for key, value in pass_through(layer, f"{name}:eval", shape).items()})
        record(name, num_batches_tracked=layer.num_batches_tracked)
        cases.append({"case": name, "layer": "batch_norm2d",
                      "attrs": {"eps": eps, "momentum": momentum, "batches": 3}})


def adam():
    steps = 10
    shapes = {"weight": (7, 5), "bias": (3,), "scalar": ()}
    for name, lr, betas, eps, weight_decay in [
        ("adam.dcgan", 2e-4, (0.5, 0.999), 1e-8, 0.0),
        ("adam.decay", 1e-3, (0.9, 0.999), 1e-8, 1e-2),
        ("adam.eps", 1e-2, (0.9, 0.99), 1e-3, 0.0),
        ("adam.no_momentum", 1e-3, (0.0, 0.9), 1e-8, 0.0),
    ]:
        rng = rng_for(name)
        params = {key: normal(rng, shape) for key, shape in shapes.items()}
        tracked = {key: double(value).requires_grad_() for key, value in params.items()}
        optimizer = torch.optim.Adam(tracked.values(), lr=lr, betas=betas, eps=eps,
                                     weight_decay=weight_decay, foreach=False)
        record(name, **{f"param__{key}": value for key, value in params.items()})
        for step in range(steps):
            for key, parameter in tracked.items():
                # The bias's gradients are as small as eps, so that the position of eps in the
                # formula matters.
                grad = normal(rng, shapes[key], 3e-8 if key == "bias" else 0.3,
                              0.0 if key == "bias" else 0.1)
                parameter.grad = double(grad)
                record(name, **{f"grad__{step}__{key}": grad})
            optimizer.step()
            record(name, **{f"after__{step}__{key}": parameter.detach().clone()
                            for key, parameter in tracked.items()})
        for key, parameter in tracked.items():
            moments = optimizer.state[parameter]
            record(name,
                   **{f"exp_avg__{key}": moments["exp_avg"],
                      f"exp_avg_sq__{key}": moments["exp_avg_sq"]})
        attrs = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "steps": steps,
                 "params": list(shapes)}
        cases.append({"case": name, "layer": "adam", "attrs": attrs})


def in_both_modes(net, x):
    """Output in evaluation mode, then in training mode (last, since it updates the running
    statistics)."""
    with torch.no_grad():
        return net.eval()["main"](x), net.train()["main"](x)


def networks():
    values, infos = {}, []
    for name, side, channels, levels, batch in [("torch64", 64, 3, 4, 2), ("torch32", 32, 1, 3, 3)]:
        width, latent = 4, 8
        g, d = generator(channels, width, levels, latent), discriminator(channels, width, levels)
        for net, letter in [(g, "g"), (d, "d")]:
            initialize(net, rng_for(f"{name}:{letter}"), spread=True)
            # The "format" entry that PyTorch tools write.
            write_tensors(f"{OUT}{name}-{letter}.safetensors", state(net, np.float32),
                          {"format": "pt"})
            net.double()
        rng = rng_for(f"{name}:inputs")
        z = normal(rng, (batch, latent))
        x = rng.uniform(-1, 1, (batch, side, side, channels)).astype(np.float32)
        image_eval, image_train = in_both_modes(g, double(z)[:, :, None, None])
        logits_eval, logits_train = in_both_modes(d, nchw(double(x)))
        assert image_eval.shape == (batch, channels, side, side)
        assert logits_eval.shape == (batch, 1, 1, 1)
        arrays = {
            "z": z,
            "image_eval": nhwc(image_eval).numpy(),
            "image_train": nhwc(image_train).numpy(),
            "x": x,
            "logits_eval": logits_eval.reshape(batch, 1).numpy(),
            "logits_train": logits_train.reshape(batch, 1).numpy(),
        }
        values |= {f"{name}/{key}": value for key, value in arrays.items()}
        attrs = {"image": [side, side, channels], "width": width, "levels": levels,
                 "latent": latent, "batch": batch}
        infos.append({"network": name, "attrs": attrs})
    write_tensors(OUT + "networks.safetensors", values)
    write_json(OUT + "networks.json", infos)


if __name__ == "__main__":
    layers()
    batch_norms()
    adam()
    write_tensors(OUT + "layers.safetensors", tensors)
    write_json(OUT + "layers.json", cases)
    networks()
