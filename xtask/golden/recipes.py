"""The networks of every preset as their sources define them, in float64, compared by
crates/nn/tests/presets.rs with this project's.

Writes crates/nn/tests/golden/presets.safetensors and presets.json.

No weight is stored. Element i of the tensor NAME is computed the same way here and in the test: the
32-bit FNV-1a hash h of NAME, then `uniform` makes u in [-1, 1) of h and i, and the element is u *
scale + offset, each operation in float32. The order of the elements is that of PyTorch's layout.

json, a line per preset: "recipe"; "changes", keys of the recipe that make it small if possible;
"batch" of G and of D; "salt", an integer that keeps activations off the kinks of ReLU and
max-pooling; "g" and "d": tensors of the state dict by name as [shape, scale, offset]. The names
given to the formula are RECIPE/g/NAME and RECIPE/d/NAME; RECIPE/SALT/z is the latents [N, latent],
RECIPE/SALT/x the images [N, H, W, C] (u, or (u + 1) / 2 where the pixels are in [0, 1]), and
conditions are one-hot, class i mod K for sample i. "gradients": of <RECIPE/dimage or
RECIPE/dlogits, output of the train pass>, per parameter [norm, <gradient, RECIPE/g or
d/NAME/project>]. "after": the same two numbers of the running statistics and of spectral norm's
vectors after that pass. "stride" of each output: see below.

safetensors: RECIPE/{image,logits}_{train,eval}, every stride-th element of the output in the order
N, H, W, C (F64; images F32). "train" is a pass with batch statistics, which updates the running
ones and does one power iteration of spectral norm; "eval" follows and normalizes by the running
ones. Dropout is off in both: its masks are not compared.

PyTorch's order where the source has another: units of a matrix next to a reshape or a flatten are
in the order C, H, W, TensorFlow's and Keras' H, W, C notwithstanding (a renaming of units); the
flattened vector of newmu-mnist's D, to which the condition is appended, is in the order H, W, C,
Theano's C, H, W notwithstanding. Theano's kernels are those of a true convolution: both sides have
them flipped.
"""

import itertools
import math
import sys
import warnings

sys.dont_write_bytecode = True

import numpy as np
import torch
from torch import nn

import sources
from fixture import write_json, write_tensors

OUT = "crates/nn/tests/golden/presets"
# A float32 run of the same network must stay this close; otherwise an activation is on a kink and
# needs another salt.
DRIFT = 1e-5


def fnv(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def uniform(name, shape):
    """u of the formula, float32."""
    x = np.arange(math.prod(shape), dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(fnv(name))
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    values = (x >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return values.reshape(shape)


def formula(name, shape, scale, offset):
    return uniform(name, shape) * np.float32(scale) + np.float32(offset)


def widths(n, latent=None):
    keys = [["generator.width", str(n)], ["discriminator.width", str(n)]]
    return keys + ([["generator.latent", str(latent)]] if latent else [])


# Name, networks, keys that differ from the preset, batches, image, latent, whether pixels are in
# [0, 1], classes. Batches are small, so that few activations can lie on kinks, but for batch norm
# per unit.
CASES = [
    ("small", lambda: sources.torch_networks(1, 7, 8, 2, 100), widths(8), (4, 4), (28, 28, 1), 100,
     False, 0),
    ("torch", lambda: sources.torch_networks(3, 4, 4, 4, 100), widths(4), (4, 4), (64, 64, 3), 100,
     False, 0),
    ("modern", lambda: sources.modern(8, 4, 128), widths(8), (4, 8), (64, 64, 3), 128, False, 0),
    ("paper", lambda: sources.newmu_networks(8, 4, 100), widths(8), (8, 4), (64, 64, 3), 100, False,
     0),
    ("newmu-mnist", sources.newmu_mnist, [], (8, 8), (28, 28, 1), 100, True, 10),
    ("newmu-svhn", lambda: sources.newmu_networks(64, 3, 100), [], (4, 2), (32, 32, 3), 100, False,
     0),
    ("newmu-imagenet32", sources.newmu_imagenet32, [], (8, 2), (32, 32, 3), 256, False, 0),
    ("tf", sources.tf_networks, [], (2, 2), (64, 64, 3), 100, False, 0),
    ("improved", sources.improved, [], (4, 2), (32, 32, 3), 100, False, 0),
    ("keras-mnist", sources.keras_mnist, [], (4, 2), (28, 28, 1), 100, False, 0),
    ("gans-in-action", sources.gans_in_action, [], (2, 4), (28, 28, 1), 100, False, 0),
    ("gans-in-action-dense", sources.gans_in_action_dense, [], (2, 2), (28, 28, 1), 100, False, 0),
    ("gan2014", sources.gan2014, [], (2, 2), (28, 28, 1), 100, True, 0),
]


def scales(net):
    """Scale and offset of every tensor: plausible for a trained network, with signals that keep
    their variance."""
    fans = {}
    for name, layer in net.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            cin = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
            area = 1 if isinstance(layer, nn.Linear) else math.prod(layer.kernel_size)
            # Of a transposed convolution's window, about a quarter of the taps meet an input.
            strided = isinstance(layer, nn.ConvTranspose2d) and area > 1 and cin != area
            fans[name] = cin * area / (4 if strided else 1)
    table = {}
    for name, value in net.state_dict().items():
        layer, kind = name.rsplit(".", 1)
        if kind == "num_batches_tracked":
            continue
        direction = kind == "weight_v" and value.ndim > 1
        if layer in fans and kind in ("weight", "weight_orig") or direction:
            scale, offset = (5 / fans[layer]) ** 0.5, 0.0
        else:
            scale, offset = {
                "weight": (0.2, 1.0), "bias": (0.1, 0.0), "running_mean": (0.3, 0.0),
                "running_var": (0.5, 1.0),
                "weight_g": (0.2, 1.4), "weight_u": (1.0, 0.0), "weight_v": (1.0, 0.0),
            }[kind]
        table[name] = [list(value.shape), float(np.float32(scale)), float(np.float32(offset))]
    return table


def fill(net, prefix, table, without_gamma):
    state = net.state_dict()
    for name, (shape, scale, offset) in table.items():
        if without_gamma and name.endswith(".weight") and len(shape) == 1:
            table[name][1], scale = 0.0, 0.0
        state[name].copy_(torch.from_numpy(formula(f"{prefix}/{name}", shape, scale, offset)))


def nhwc(x):
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def stride_of(count):
    """A prime, so that the elements kept (about a thousand) come from every row, column and
    channel."""
    step = max(count // 1000, 1)
    while step > 1 and (step in (2, 3, 7) or any(step % p == 0 for p in range(2, step))):
        step += 1
    return step


def two_numbers(name, value):
    value = value.detach().double().numpy()
    return [float(np.linalg.norm(value)),
            float((value * uniform(f"{name}/project", value.shape)).sum())]


def inputs(case, salt):
    """The inputs of each network, as float32: images, latents and conditions."""
    name, _, _, (batch_g, batch_d), image, latent, unit, classes = case
    x = uniform(f"{name}/{salt}/x", (batch_d, *image))
    x = x * np.float32(0.5) + np.float32(0.5) if unit else x
    z = torch.from_numpy(uniform(f"{name}/{salt}/z", (batch_g, latent)))
    one_hot = lambda n: [torch.eye(classes)[torch.arange(n) % classes]] if classes else []
    return {"g": [z, *one_hot(batch_g)],
            "d": [torch.from_numpy(x).permute(0, 3, 1, 2), *one_hot(batch_d)]}


def run_networks(case, salt, dtype):
    """Outputs, gradients and updated buffers of both networks."""
    name, make, *_ = case
    network_inputs = inputs(case, salt)
    tensors, info = {}, {"gradients": {}, "after": {}}
    for letter, net, what in zip("gd", make(), ["image", "logits"]):
        info[letter] = scales(net)
        fill(net, f"{name}/{letter}", info[letter], name == "improved" and letter == "g")
        net.to(dtype).train()
        own = [value.to(dtype) for value in network_inputs[letter]]
        out = nhwc(net(*own))
        gout = torch.from_numpy(uniform(f"{name}/d{what}", tuple(out.shape)))
        (out * gout.to(dtype)).sum().backward()
        for key, parameter in net.named_parameters():
            info["gradients"][f"{letter}/{key}"] = two_numbers(f"{name}/{letter}/{key}",
                                                               parameter.grad)
        buffers = {key: value for key, value in net.named_buffers() if value.ndim}
        info["after"] |= {f"{letter}/{key}": two_numbers(f"{name}/{letter}/{key}", value)
                          for key, value in buffers.items()}
        with torch.no_grad():
            tensors[f"{name}/{what}_train"], tensors[f"{name}/{what}_eval"] = (
                out, nhwc(net.eval()(*own)))
    return ({key: value.detach().double().numpy().reshape(-1) for key, value in tensors.items()},
            info)


def drift(exact, rounded):
    """The distance of float32 from float64, by the metrics of the test."""
    worst = max(np.abs(value - rounded[0][key]).max() / np.abs(value).max()
                for key, value in exact[0].items())
    for kind, letter in itertools.product(("gradients", "after"), "gd"):
        own = {key: value for key, value in exact[1][kind].items() if key.startswith(letter)}
        largest = max((norm for norm, _ in own.values()), default=0)
        for key, (norm, projection) in own.items():
            found = rounded[1][kind][key]
            off = max(abs(found[0] - norm), abs(found[1] - projection))
            worst = max(worst, off / max(norm, 1e-2 * largest))
    return worst


def main():
    warnings.filterwarnings("ignore", category=FutureWarning)
    tensors, infos = {}, []
    for case in CASES:
        name, _, changes, batch, *_ = case
        for salt in itertools.count():
            exact, rounded = (run_networks(case, salt, torch.float64),
                              run_networks(case, salt, torch.float32))
            found = drift(exact, rounded)
            print(f"{name}, salt {salt}: float32 drifts by {found:.1e}", flush=True)
            if found < DRIFT:
                break
        outputs, info = exact
        stride = {key.split("/")[1]: stride_of(len(value)) for key, value in outputs.items()}
        kept = {key: value[:: stride[key.split("/")[1]]] for key, value in outputs.items()}
        tensors |= {key: value.astype(np.float32) if "image" in key else value
                    for key, value in kept.items()}
        infos.append({"recipe": name, "changes": changes, "batch": batch, "salt": salt,
                      "stride": stride, **info})
    write_tensors(OUT + ".safetensors", tensors)
    write_json(OUT + ".json", infos)


if __name__ == "__main__":
    main()
