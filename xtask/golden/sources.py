"""The networks of the presets' sources, each with the layers and the forward pass that its source
has.

A module, not a generator: running it writes nothing.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm, weight_norm


class SourceNetwork(nn.Module):
    """Layers with parameters under the names they have in the state dict, `main.N`, and the
    source's forward pass over them."""

    def __init__(self, layers, forward):
        super().__init__()
        self.main = nn.ModuleDict({str(i): layer for i, layer in layers.items()})
        self.run = forward

    def forward(self, x, y=None):
        m = {int(i): layer for i, layer in self.main.items()}
        return self.run(m, x) if y is None else self.run(m, x, y)


def lrelu(x, leak=0.2):
    return F.leaky_relu(x, leak)


# ---- soumith/dcgan.torch and pytorch/examples ----------------------------------------------------


def torch_networks(channels, base, width, levels, latent):
    """The published network at any base size and number of levels."""
    widths = [width << i for i in reversed(range(levels))]
    g = {0: nn.ConvTranspose2d(latent, widths[0], base, 1, 0, bias=False),
         1: nn.BatchNorm2d(widths[0])}
    for i, (cin, cout) in enumerate(zip(widths, widths[1:])):
        g |= {3 * i + 3: nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=False),
              3 * i + 4: nn.BatchNorm2d(cout)}
    last = 3 * levels
    g[last] = nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False)

    def generate(m, z):
        h = z[:, :, None, None]
        for i in range(0, last, 3):
            h = F.relu(m[i + 1](m[i](h)))
        return torch.tanh(m[last](h))

    d = {0: nn.Conv2d(channels, width, 4, 2, 1, bias=False)}
    for i in range(1, levels):
        d |= {3 * i - 1: nn.Conv2d(width << i - 1, width << i, 4, 2, 1, bias=False),
              3 * i: nn.BatchNorm2d(width << i)}
    head = 3 * levels - 1
    d[head] = nn.Conv2d(width << levels - 1, 1, base, 1, 0, bias=False)

    def discriminate(m, x):
        h = lrelu(m[0](x))
        for i in range(2, head, 3):
            h = lrelu(m[i + 1](m[i](h)))
        return m[head](h).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


# ---- Newmu/dcgan_code, in Theano -----------------------------------------------------------------


def deconv(x, layer, subsample, border):
    """lib/ops.py: the gradient of a convolution by its input, which is `subsample` times as
    large."""
    size = (x.shape[0], layer.weight.shape[1], x.shape[2] * subsample, x.shape[3] * subsample)
    return nn.grad.conv2d_input(size, layer.weight, x, stride=subsample, padding=border)


def newmu_norm(cls, features, affine=True):
    return cls(features, eps=1e-8, affine=affine)


def kernel(cin, cout, side, transposed=False):
    """A weight, applied by the forward pass."""
    return (nn.ConvTranspose2d if transposed else nn.Conv2d)(cin, cout, side, bias=False)


def newmu_networks(width, levels, latent, channels=3):
    """faces/train_uncond_dcgan.py and, with three levels, the released SVHN networks."""
    top = width << levels - 1
    g = {0: nn.Linear(latent, top * 16, bias=False), 1: newmu_norm(nn.BatchNorm1d, top * 16)}
    for i in range(1, levels):
        g |= {3 * i + 1: kernel(top >> i - 1, top >> i, 5, True),
              3 * i + 2: newmu_norm(nn.BatchNorm2d, top >> i)}
    last = 3 * levels + 1
    g[last] = kernel(width, channels, 5, True)

    def generate(m, z):
        h = F.relu(m[1](m[0](z))).reshape(-1, top, 4, 4)
        for i in range(4, last, 3):
            h = F.relu(m[i + 1](deconv(h, m[i], 2, 2)))
        return torch.tanh(deconv(h, m[last], 2, 2))

    d = {0: kernel(channels, width, 5)}
    for i in range(1, levels):
        d |= {3 * i - 1: kernel(width << i - 1, width << i, 5),
              3 * i: newmu_norm(nn.BatchNorm2d, width << i)}
    head = 3 * levels
    d[head] = nn.Linear(top * 16, 1, bias=False)

    def discriminate(m, x):
        conv = lambda i, h: F.conv2d(h, m[i].weight, stride=2, padding=2)
        h = lrelu(conv(0, x))
        for i in range(2, head - 1, 3):
            h = lrelu(m[i + 1](conv(i, h)))
        return m[head](h.flatten(1)).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def newmu_mnist():
    """mnist/train_cond_dcgan.py."""
    norm1, norm2 = (lambda n, cls=cls: newmu_norm(cls, n, affine=False)
                    for cls in (nn.BatchNorm1d, nn.BatchNorm2d))

    def conv_cond_concat(x, y):
        return torch.cat([x, y[:, :, None, None].expand(-1, -1, *x.shape[2:])], 1)

    g = {1: nn.Linear(110, 1024, bias=False), 2: norm1(1024), 5: nn.Linear(1034, 6272, bias=False),
         6: norm1(6272)}
    g |= {10: kernel(138, 64, 5, True), 11: norm2(64), 14: kernel(74, 1, 5, True)}

    def generate(m, z, y):
        h = F.relu(m[2](m[1](torch.cat([z, y], 1))))
        h2 = F.relu(m[6](m[5](torch.cat([h, y], 1)))).reshape(-1, 128, 7, 7)
        h3 = F.relu(m[11](deconv(conv_cond_concat(h2, y), m[10], 2, 2)))
        return torch.sigmoid(deconv(conv_cond_concat(h3, y), m[14], 2, 2))

    d = {1: kernel(11, 64, 5), 4: kernel(74, 128, 5), 5: norm2(128)}
    d |= {9: nn.Linear(6282, 1024, bias=False), 10: norm1(1024), 13: nn.Linear(1034, 1, bias=False)}

    def discriminate(m, x, y):
        conv = lambda i, h: F.conv2d(conv_cond_concat(h, y), m[i].weight, stride=2, padding=2)
        h = lrelu(conv(1, x))
        h2 = lrelu(m[5](conv(4, h)))
        # The order H, W, C: see above.
        h2 = torch.cat([h2.permute(0, 2, 3, 1).flatten(1), y], 1)
        h3 = torch.cat([lrelu(m[10](m[9](h2))), y], 1)
        return m[13](h3).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def newmu_imagenet32():
    """imagenet/load_pretrained.py."""
    norm = lambda n: newmu_norm(nn.BatchNorm2d, n)
    widths, strides = [512, 512, 256, 256, 128, 128, 3], [2, 1, 2, 1, 2, 1]
    g = {0: nn.Linear(256, 8192, bias=False), 1: newmu_norm(nn.BatchNorm1d, 8192)}
    for i in range(6):
        g[4 + 3 * i] = kernel(widths[i], widths[i + 1], 3, True)
        if i < 5:
            g[5 + 3 * i] = norm(widths[i + 1])

    def generate(m, z):
        h = F.relu(m[1](m[0](z))).reshape(-1, 512, 4, 4)
        for i in range(5):
            h = F.relu(m[5 + 3 * i](deconv(h, m[4 + 3 * i], strides[i], 1)))
        return torch.tanh(deconv(h, m[19], strides[5], 1))

    filters = [3, 128, 128, 256, 256, 512, 512]
    d = {0: kernel(3, 128, 3)}
    for i in range(1, 6):
        d |= {3 * i - 1: kernel(filters[i], filters[i + 1], 3), 3 * i: norm(filters[i + 1])}
    d[18] = nn.Linear(512 * 16, 1, bias=False)

    def discriminate(m, x):
        h = lrelu(F.conv2d(x, m[0].weight, stride=1, padding=1))
        for i in range(1, 6):
            h = lrelu(m[3 * i](F.conv2d(h, m[3 * i - 1].weight, stride=1 + i % 2, padding=1)))
        return m[18](h.flatten(1)).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


# ---- TensorFlow and Keras ------------------------------------------------------------------------


def same(side, kernel, stride):
    """TensorFlow's SAME padding: the odd zero comes after."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def conv_same(x, layer, stride):
    (top, bottom), (left, right) = (same(side, k, stride)
                                    for side, k in zip(x.shape[2:], layer.weight.shape[2:]))
    return F.conv2d(F.pad(x, (left, right, top, bottom)), layer.weight, layer.bias, stride)


def conv_transpose_same(x, layer, stride):
    """The whole result, cropped by the padding of the convolution that it transposes."""
    whole = F.conv_transpose2d(x, layer.weight, layer.bias, stride)
    sides = [side * stride for side in x.shape[2:]]
    (top, _), (left, _) = (same(side, k, stride) for side, k in zip(sides, layer.weight.shape[2:]))
    return whole[:, :, top : top + sides[0], left : left + sides[1]]


def tf_networks():
    """carpedm20/DCGAN-tensorflow, model.py for images of 64 pixels."""
    norm = lambda n: nn.BatchNorm2d(n, eps=1e-5, momentum=0.1)
    widths = [512, 256, 128, 64]
    g = {0: nn.Linear(100, 8192), 2: norm(512), 13: nn.ConvTranspose2d(64, 3, 5)}
    for i, (cin, cout) in enumerate(zip(widths, widths[1:])):
        g |= {4 + 3 * i: nn.ConvTranspose2d(cin, cout, 5), 5 + 3 * i: norm(cout)}

    def generate(m, z):
        h = F.relu(m[2](m[0](z).reshape(-1, 512, 4, 4)))
        for i in (4, 7, 10):
            h = F.relu(m[i + 1](conv_transpose_same(h, m[i], 2)))
        return torch.tanh(conv_transpose_same(h, m[13], 2))

    d = {0: nn.Conv2d(3, 64, 5), 12: nn.Linear(8192, 1)}
    for i in range(3):
        d |= {2 + 3 * i: nn.Conv2d(64 << i, 128 << i, 5), 3 + 3 * i: norm(128 << i)}

    def discriminate(m, x):
        h = lrelu(conv_same(x, m[0], 2))
        for i in (2, 5, 8):
            h = lrelu(m[i + 1](conv_same(h, m[i], 2)))
        return m[12](h.flatten(1)).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def keras_mnist():
    """The Keras blog's DCGAN: batch norm over the flat vector, tanh everywhere, no sigmoid here (it
    belongs to the loss)."""
    g = {0: nn.Linear(100, 1024), 2: nn.Linear(1024, 6272),
         3: nn.BatchNorm1d(6272, eps=1e-3, momentum=0.01)}
    g |= {7: nn.Conv2d(128, 64, 5), 10: nn.Conv2d(64, 1, 5)}
    twice = lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def generate(m, z):
        h = torch.tanh(m[3](m[2](torch.tanh(m[0](z))))).reshape(-1, 128, 7, 7)
        h = torch.tanh(conv_same(twice(h), m[7], 1))
        return torch.tanh(conv_same(twice(h), m[10], 1))

    d = {0: nn.Conv2d(1, 64, 5), 3: nn.Conv2d(64, 128, 5), 7: nn.Linear(3200, 1024),
         9: nn.Linear(1024, 1)}

    def discriminate(m, x):
        h = F.max_pool2d(torch.tanh(conv_same(x, m[0], 1)), 2)
        h = F.max_pool2d(torch.tanh(m[3](h)), 2)
        return m[9](torch.tanh(m[7](h.flatten(1)))).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def gans_in_action():
    """Chapter 4."""
    norm = lambda n: nn.BatchNorm2d(n, eps=1e-3, momentum=0.01)
    g = {0: nn.Linear(100, 12544), 2: nn.ConvTranspose2d(256, 128, 3), 3: norm(128)}
    g |= {5: nn.ConvTranspose2d(128, 64, 3), 6: norm(64), 8: nn.ConvTranspose2d(64, 1, 3)}

    def generate(m, z):
        h = m[0](z).reshape(-1, 256, 7, 7)
        h = lrelu(m[3](conv_transpose_same(h, m[2], 2)), 0.01)
        h = lrelu(m[6](conv_transpose_same(h, m[5], 1)), 0.01)
        return torch.tanh(conv_transpose_same(h, m[8], 2))

    d = {0: nn.Conv2d(1, 32, 3), 2: nn.Conv2d(32, 64, 3), 3: norm(64), 5: nn.Conv2d(64, 128, 3),
         6: norm(128)}
    d[9] = nn.Linear(2048, 1)

    def discriminate(m, x):
        h = lrelu(conv_same(x, m[0], 2), 0.01)
        h = lrelu(m[3](conv_same(h, m[2], 2)), 0.01)
        h = lrelu(m[6](conv_same(h, m[5], 2)), 0.01)
        return m[9](h.flatten(1)).flatten()

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def gans_in_action_dense():
    """Chapter 3."""
    generate = lambda m, z: torch.tanh(m[2](lrelu(m[0](z), 0.01))).reshape(-1, 1, 28, 28)
    discriminate = lambda m, x: m[3](lrelu(m[1](x.flatten(1)), 0.01)).flatten()
    g = SourceNetwork({0: nn.Linear(100, 128), 2: nn.Linear(128, 784)}, generate)
    return g, SourceNetwork({1: nn.Linear(784, 128), 3: nn.Linear(128, 1)}, discriminate)


# ---- the rest ------------------------------------------------------------------------------------


def gan2014():
    """goodfeli/adversarial, mnist.yaml; a maxout unit is the maximum of `pieces` neighbors, as in
    pylearn2."""
    maxout = lambda x, pieces=5: torch.stack([x[:, i::pieces] for i in range(pieces)]).amax(0)
    g = {0: nn.Linear(100, 1200), 2: nn.Linear(1200, 1200), 4: nn.Linear(1200, 784)}
    generate = lambda m, z: torch.sigmoid(m[4](F.relu(m[2](F.relu(m[0](z)))))).reshape(
        -1, 1, 28, 28)
    d = {2: nn.Linear(784, 1200), 5: nn.Linear(240, 1200), 8: nn.Linear(240, 1)}
    discriminate = lambda m, x: m[8](maxout(m[5](maxout(m[2](x.flatten(1)))))).flatten()
    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def improved():
    """openai/improved-gan, train_cifar_feature_matching.py; γ of G's batch norms, which the source
    does not have, is 1."""
    norm = lambda cls, n: cls(n, eps=1e-6, momentum=0.1)
    g = {0: nn.Linear(100, 8192, bias=False), 1: norm(nn.BatchNorm1d, 8192)}
    g |= {4: kernel(512, 256, 5, True), 5: norm(nn.BatchNorm2d, 256)}
    g |= {7: kernel(256, 128, 5, True), 8: norm(nn.BatchNorm2d, 128),
          10: nn.ConvTranspose2d(128, 3, 5)}

    def generate(m, z):
        h = F.relu(m[1](m[0](z))).reshape(-1, 512, 4, 4)
        h = F.relu(m[5](deconv(h, m[4], 2, 2)))
        h = F.relu(m[8](deconv(h, m[7], 2, 2)))
        return torch.tanh(deconv(h, m[10], 2, 2) + m[10].bias[:, None, None])

    filters = [(1, 3, 96, 3), (3, 96, 96, 3), (5, 96, 96, 3), (8, 96, 192, 3), (10, 192, 192, 3),
               (12, 192, 192, 3)]
    filters += [(15, 192, 192, 3), (17, 192, 192, 1), (19, 192, 192, 1)]
    d = {i: weight_norm(nn.Conv2d(cin, cout, k)) for i, cin, cout, k in filters}
    d[22] = weight_norm(nn.Linear(192, 10))

    def normed(layer):
        """nn.py: under the root there is 1e-6 as well."""
        v, g = layer.weight_v, layer.weight_g
        return v * g / (v.square().sum(tuple(range(1, v.ndim)), keepdim=True) + 1e-6).sqrt()

    def discriminate(m, x):
        conv = lambda i, h, stride=1, pad=1: lrelu(
            F.conv2d(h, normed(m[i]), m[i].bias, stride, pad))
        h = conv(5, conv(3, conv(1, x)), 2)
        h = conv(12, conv(10, conv(8, h)), 2)
        h = conv(15, h, pad=0)
        # Network in network: a matrix at every pixel.
        for i in (17, 19):
            h = torch.einsum("nchw,oc->nohw", h, normed(m[i])[:, :, 0, 0])
            h = lrelu(h + m[i].bias[:, None, None])
        return F.linear(h.mean((2, 3)), normed(m[22]), m[22].bias)

    return SourceNetwork(g, generate), SourceNetwork(d, discriminate)


def modern(width, levels, latent):
    """This project's own: G of recipe torch; D with Miyato's spectral norm and Karras' minibatch
    standard deviation."""
    g, _ = torch_networks(3, 4, width, levels, latent)
    d = {2 * i: spectral_norm(nn.Conv2d(width << i - 1 if i else 3, width << i, 4, 2, 1))
         for i in range(levels)}
    top = width << levels - 1
    head = 2 * levels + 2
    d[head] = spectral_norm(nn.Linear((top + 1) * 16, 1))

    def stddev(x, group=4):
        n, c, h, w = x.shape
        y = x.reshape(group, -1, c, h, w)
        y = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)
        return torch.cat([x, y.repeat(group, 1, h, w)], 1)

    def discriminate(m, x):
        for i in range(levels):
            x = lrelu(m[2 * i](x))
        return m[head](stddev(x).flatten(1)).flatten()

    return g, SourceNetwork(d, discriminate)
