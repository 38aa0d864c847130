"""The networks of pytorch/examples' dcgan, at any width and number of levels, without D's sigmoid,
which belongs to the loss.

A module, not a generator: running it writes nothing.
"""

import torch
from torch import nn

from fixture import normal


def generator(channels, width, levels, latent):
    """z [N, latent, 1, 1] -> [N, channels, S, S], S = 4 * 2**levels; `width` channels before the
    last layer."""
    widths = [width << level for level in reversed(range(levels))]
    layers = [nn.ConvTranspose2d(latent, widths[0], 4, 1, 0, bias=False), nn.BatchNorm2d(widths[0]),
              nn.ReLU()]
    for cin, cout in zip(widths, widths[1:]):
        layers += [nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout),
                   nn.ReLU()]
    layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1, bias=False), nn.Tanh()]
    return network(layers)


def discriminator(channels, width, levels):
    """[N, channels, S, S] -> logits [N, 1, 1, 1]."""
    widths = [width << level for level in range(levels)]
    layers = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for cin, cout in zip(widths, widths[1:]):
        layers += [nn.Conv2d(cin, cout, 4, 2, 1, bias=False), nn.BatchNorm2d(cout),
                   nn.LeakyReLU(0.2)]
    layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 0, bias=False))
    return network(layers)


def network(layers):
    """`main` as in the example, so that the state dict's names are main.0.weight and so on."""
    return nn.ModuleDict({"main": nn.Sequential(*layers)})


def initialize(net, rng, spread=False):
    """Convolutions N(0, .02), gamma N(1, .02), beta 0, drawn in float32 for every precision of the
    network.

    With `spread`, weights and buffers like those of a trained network: none at a value that would
    hide a mistake.
    """
    for layer in net["main"]:
        if isinstance(layer, nn.BatchNorm2d):
            shape = tuple(layer.weight.shape)
            fill(layer.weight, normal(rng, shape, 0.2 if spread else 0.02, 1.0))
            fill(layer.bias, normal(rng, shape, 0.2 if spread else 0.0))
            if spread:
                fill(layer.running_mean, normal(rng, shape, 0.3))
                fill(layer.running_var, rng.uniform(0.5, 2.0, shape).astype("float32"))
                layer.num_batches_tracked.fill_(1234)
        elif isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            weight = layer.weight
            # Deviation of a variance-keeping layer, so that logits and images are not all near
            # zero.
            fan_in = (weight[0].numel() if isinstance(layer, nn.Conv2d)
                      else weight.shape[0] * weight[0, 0].numel() / layer.stride[0] ** 2)
            fill(weight, normal(rng, tuple(weight.shape), fan_in**-0.5 if spread else 0.02))


def fill(parameter, array):
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(array))


def state(net, dtype):
    """The state dict as NumPy arrays, floats as `dtype`."""
    arrays = {name: value.detach().numpy() for name, value in net.state_dict().items()}
    return {name: value.astype(dtype) if value.dtype.kind == "f" else value.copy()
            for name, value in arrays.items()}
