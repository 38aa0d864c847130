"""Ten training steps each with other losses and options than the default (16x16x1, width 4, latent
4, batch 4), and three of some at width 32 and batch 16, where Winograd's convolutions run; in
float64 and in float32.

Writes crates/train/tests/golden/objectives.safetensors and objectives.json.

Latents (U(-1, 1)) and the weights that interpolate real and generated images for the gradient
penalty are not stored: both sides draw them by Philox4x32-10 with seed 0, latents from stream 2,
weights from stream 6, as a run does.

safetensors: real/BATCH/0.. the batches [BATCH, 16, 16, 1] as U8, pixel = x / 127.5 - 1 in float32,
used in order by every update of D; per case CASE/g/*, CASE/d/* the initial state dicts,
CASE/final_g/*, CASE/final_d/* those after all steps of the float64 run (all F32, counters I64).
json, per case: "changes", keys of recipe torch; d_loss (real + fake of the last update of D,
without penalty) and g_loss per step of the float64 run; "drift", of each loss max|f32 - f64| over
the steps and of each final tensor |f32 - f64| / |f64|, the largest of three float32 runs that
differ in the order of their sums. (Norms, because the largest error of a tensor is often that of a
weight whose gradient is almost zero: Adam divides the gradient by its size, so that error is a
matter of chance.)
"""

import itertools
import sys
import warnings

sys.dont_write_bytecode = True

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import spectral_norm

from dcgan import fill, generator, network, state
from fixture import normal, rng_for, write_json, write_tensors

OUT = "crates/train/tests/golden/objectives"
STEPS, BATCH, SIDE, WIDTH, LATENT = 10, 4, 16, 4, 4
# Image i of batch n has class (n + i) % CLASSES, if a case has classes.
CLASSES = 3
# No activation comes nearer to the kink of its (leaky) ReLU than this fraction of their deviation:
# see trajectory.py.
KINK_GAP = 1e-5


def resize(width, batch, steps, gap=0.0):
    global WIDTH, BATCH, STEPS, KINK_GAP
    WIDTH, BATCH, STEPS, KINK_GAP = width, batch, steps, gap


class Philox:
    """A stream of crates/tensor/src/rng.rs."""

    def __init__(self, seed, stream):
        self.key, self.stream, self.block = (seed & 0xFFFFFFFF, seed >> 32), stream, 0

    def words(self, counter):
        c = [counter & 0xFFFFFFFF, counter >> 32, self.stream & 0xFFFFFFFF, self.stream >> 32]
        k = list(self.key)
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
        return c

    def uniform(self, low, high, *shape):
        """Every draw starts on a fresh block of four words."""
        count = int(np.prod(shape))
        blocks = -(-count // 4)
        words = sum((self.words(self.block + i) for i in range(blocks)), [])[:count]
        self.block += blocks
        bits = np.array(words, dtype=np.uint32) >> np.uint32(8)
        unit = bits.astype(np.float32) * np.float32(2.0**-24)
        return torch.from_numpy((np.float32(low) + np.float32(high - low) * unit).reshape(shape))


def discriminator(norm, wrap=lambda layer: layer, outputs=1):
    inner, side = 2 * WIDTH, SIDE // 4
    middle = {"batch": [nn.BatchNorm2d(inner)], "layer": [nn.LayerNorm([inner, side, side])],
              "none": []}[norm]
    conv = lambda *shape: wrap(nn.Conv2d(*shape, bias=False))
    layers = [conv(1, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2), conv(WIDTH, inner, 4, 2, 1), *middle,
              nn.LeakyReLU(0.2)]
    return network([*layers, conv(inner, outputs, side)])


def conditional_generator():
    """The condition is appended to z, which takes an index of its own among the layers."""
    return network([nn.Identity(), *generator(1, WIDTH, 2, LATENT + CLASSES)["main"]])


bce = lambda logits, target: F.binary_cross_entropy_with_logits(
    logits, torch.full_like(logits, target))
halved = lambda logits, target: 0.5 * (logits - target).square().mean()


def cases():
    """Name, keys of the recipe, how D is built, D's losses of real and fake logits, G's of fake and
    real ones, G's and D's optimizers."""
    adam = lambda lr, betas: lambda net: torch.optim.Adam(net.parameters(), lr=lr, betas=betas,
                                                          eps=1e-8)
    usual = adam(2e-4, (0.5, 0.999))
    auxiliary = {"condition.kind": '"class"', "condition.size": str(CLASSES),
                 "condition.discriminator": '"auxiliary"'}
    standard = (lambda real, fake: (bce(real, 1.0), bce(fake, 0.0)),
                lambda fake, real: bce(fake, 1.0))
    return [
        (
            "hinge",
            {"objective.loss": '"hinge"', "discriminator.norm": '"none"',
             "discriminator.parametrization": '"spectral-norm"',
             "optimizer.lr_discriminator": "0.0004"},
            lambda: discriminator("none", spectral_norm),
            (lambda real, fake: (F.relu(1 - real).mean(), F.relu(1 + fake).mean()),
             lambda fake, real: -fake.mean()),
            (usual, adam(4e-4, (0.5, 0.999))),
        ),
        (
            "least-squares",
            {"objective.loss": '"least-squares"', "labels.real": "[0.9, 0.9]",
             "optimizer.type": '"rmsprop"',
             "optimizer.beta2": "0.99", "optimizer.momentum": "0.5"},
            lambda: discriminator("batch"),
            (lambda real, fake: (halved(real, 0.9), halved(fake, 0.0)),
             lambda fake, real: halved(fake, 1.0)),
            (
                lambda net: torch.optim.RMSprop(net.parameters(), lr=2e-4, alpha=0.99, eps=1e-8,
                                                momentum=0.5),
            ) * 2,
        ),
        (
            "wasserstein",
            {"objective.loss": '"wasserstein"', "objective.gradient_penalty": "10.0",
             "discriminator.norm": '"layer"', "train.d_steps": "2", "optimizer.type": '"sgd"',
             "optimizer.lr": "0.01", "optimizer.momentum": "0.5",
             "optimizer.nesterov": "true"},
            lambda: discriminator("layer"),
            (lambda real, fake: (-real.mean(), fake.mean()), lambda fake, real: -fake.mean()),
            (
                lambda net: torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5, nesterov=True),
            ) * 2,
        ),
        (
            "relativistic",
            {"objective.relativistic": "true"},
            lambda: discriminator("batch"),
            (
                lambda real, fake: (bce(real - fake.mean(), 1.0), bce(fake - real.mean(), 0.0)),
                lambda fake, real: bce(fake - real.mean(), 1.0) + bce(real - fake.mean(), 0.0),
            ),
            (usual, usual),
        ),
        (
            "generator-first",
            {"train.update_order": '"g-first"', "train.resample_z": "true", "train.g_steps": "2"},
            lambda: discriminator("batch"),
            standard,
            (usual, usual),
        ),
        (
            "minimax",
            {"objective.loss": '"minimax"'},
            lambda: discriminator("batch"),
            (standard[0], lambda fake, real: -bce(fake, 0.0)),
            (usual, usual),
        ),
        (
            "swapped",
            {"labels.swap": "true"},
            lambda: discriminator("batch"),
            (lambda real, fake: (bce(real, 0.0), bce(fake, 1.0)),
             lambda fake, real: bce(fake, 0.0)),
            (usual, usual),
        ),
        (
            "relativistic-swapped",
            {"objective.loss": '"least-squares"', "objective.relativistic": "true",
             "labels.swap": "true"},
            lambda: discriminator("batch"),
            (
                lambda real, fake: (halved(real - fake.mean(), -1.0),
                                    halved(fake - real.mean(), 1.0)),
                lambda fake, real: (halved(fake - real.mean(), -1.0)
                                    + halved(real - fake.mean(), 1.0)),
            ),
            (usual, usual),
        ),
        (
            "feature-matching",
            {"objective.feature_matching": "0.5"},
            lambda: discriminator("batch"),
            # Computed from D's last activation.
            (standard[0], lambda fake, real: 0.5 * (fake.mean(0) - real.mean(0)).square().sum()),
            (usual, usual),
        ),
        (
            "r1",
            {"objective.r1": "2.0", "objective.r1_every": "2", "discriminator.norm": '"none"'},
            lambda: discriminator("none"),
            standard,
            (usual, usual),
        ),
        (
            "clipped",
            {"objective.loss": '"wasserstein"', "objective.weight_clip": "0.1",
             "optimizer.type": '"rmsprop"',
             "optimizer.beta2": "0.99", "optimizer.lr": "0.001"},
            lambda: discriminator("batch"),
            (lambda real, fake: (-real.mean(), fake.mean()), lambda fake, real: -fake.mean()),
            (lambda net: torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.99, eps=1e-8),) * 2,
        ),
        (
            "auxiliary",
            auxiliary | {"condition.auxiliary_weight": "0.5"},
            lambda: discriminator("batch", outputs=1 + CLASSES),
            standard,
            (usual, usual),
        ),
        (
            "alternate",
            auxiliary | {"train.update_order": '"g-first"', "train.resample_z": "true",
                         "train.separate_batches": "true"},
            lambda: discriminator("batch", outputs=1 + CLASSES),
            standard,
            (usual, usual),
        ),
    ]


def wide_cases():
    """The default objective and two of the others for WIDTH 32 and BATCH 16, all with Adam."""
    wide = {"generator.width": "32", "discriminator.width": "32", "train.batch": "16"}
    all_cases = {name: rest for name, *rest in cases()}
    _, make, _, usual = all_cases["minimax"]
    standard = all_cases["auxiliary"][2]
    keys, *hinge = all_cases["hinge"]
    critic_keys, make_critic, critic_losses, _ = all_cases["wasserstein"]
    critic_keys = {key: value for key, value in critic_keys.items() if "optimizer" not in key}
    return [("wide-torch", wide, make, standard, usual), ("wide-hinge", keys | wide, *hinge),
            ("wide-wasserstein", critic_keys | wide, make_critic, critic_losses, usual)]


def initialize(net, rng):
    """Scales weights so that signals keep their variance and every term of a loss matters."""
    for name, value in net.state_dict().items():
        layer = name.rsplit(".", 1)[0]
        if name.endswith(("weight_u", "weight_v")):
            drawn = normal(rng, tuple(value.shape))
            fill(value, drawn / np.float32(np.linalg.norm(drawn)))
        elif value.ndim == 4:
            transposed = isinstance(net.get_submodule(layer), nn.ConvTranspose2d)
            # In a transposed convolution of stride 2, a pixel sums over a quarter of the taps; in
            # the stem over one.
            stem = transposed and net.get_submodule(layer).stride == (1, 1)
            fan = (value.shape[0] * (1 if stem else 4)) if transposed else value[0].numel()
            fill(value, normal(rng, tuple(value.shape), fan**-0.5))
        elif name.endswith(".weight"):
            fill(value, normal(rng, tuple(value.shape), 0.2, 1.0))
        elif name.endswith(".bias"):
            fill(value, normal(rng, tuple(value.shape), 0.2))


def networks(case, seed):
    name, keys, make, *_ = case
    g, d = (conditional_generator() if "condition.kind" in keys else generator(1, WIDTH, 2, LATENT),
            make())
    initialize(g, rng_for(f"objectives:{name}:{seed}:g"))
    initialize(d, rng_for(f"objectives:{name}:{seed}:d"))
    return g, d


def images(i):
    """Smooth random images: a few waves."""
    rng = rng_for(f"objectives:real/{i}")
    y, x = np.meshgrid(np.arange(SIDE) / SIDE, np.arange(SIDE) / SIDE, indexing="ij")

    def wave():
        (fy, fx), phase = rng.uniform(-2, 2, 2), rng.uniform()
        return rng.uniform(-0.8, 0.8) * np.cos(2 * np.pi * (fy * y + fx * x + phase))

    batch = np.stack([sum(wave() for _ in range(4)) for _ in range(BATCH)])[..., None]
    return np.round((np.tanh(batch) + 1) * 127.5).astype(np.uint8)


class Run:
    """One run; each update in the order of crates/train/src/step.rs."""

    def __init__(self, case, seed, dtype, layout):
        _, keys, _, self.losses, (optimizer_g, optimizer_d) = case
        self.dtype, self.layout = dtype, layout
        self.g, self.d = (net.to(dtype).to(memory_format=layout) for net in networks(case, seed))
        self.adam_g, self.adam_d = optimizer_g(self.g), optimizer_d(self.d)
        self.latents, self.mixes = Philox(0, 2), Philox(0, 6)
        self.batches = itertools.count()
        self.steps = 0
        self.penalty = float(keys.get("objective.gradient_penalty", 0))
        self.r1 = float(keys.get("objective.r1", 0))
        self.r1_every = int(keys.get("objective.r1_every", 1))
        self.clip = float(keys.get("objective.weight_clip", 0))
        self.matching = "objective.feature_matching" in keys
        self.conditional = "condition.kind" in keys
        self.of_classes = float(keys.get("condition.auxiliary_weight", 1))
        self.alternate = "train.separate_batches" in keys
        self.d_steps = int(keys.get("train.d_steps", 1))
        self.g_steps = int(keys.get("train.g_steps", 1))
        self.first, self.relative = "train.update_order" in keys, "objective.relativistic" in keys

    def real(self):
        """Images and their classes."""
        number = next(self.batches)
        batch = images(number).astype(np.float32) / np.float32(127.5) - np.float32(1)
        batch = torch.from_numpy(batch).to(self.dtype).permute(0, 3, 1, 2)
        batch = batch.contiguous(memory_format=self.layout)
        return batch, (number + torch.arange(BATCH)) % CLASSES

    def draw(self):
        return self.latents.uniform(-1, 1, BATCH, LATENT).to(self.dtype)[:, :, None, None]

    def generate(self, z, classes):
        if self.conditional:
            z = torch.cat([z, F.one_hot(classes, CLASSES).to(self.dtype)[:, :, None, None]], 1)
        return self.g["main"](z)

    def discriminate(self, images, classes):
        """Logits, and the class loss."""
        out = self.d["main"](images)
        if not self.conditional:
            return out, 0.0
        return out[:, :1], self.of_classes * F.cross_entropy(out[:, 1:, 0, 0], classes)

    def update_d(self, real, classes, fake):
        self.d.zero_grad()
        critic = self.d["main"]
        (on_real, of_real), (on_fake, of_fake) = (self.discriminate(real, classes),
                                                  self.discriminate(fake, classes))
        loss_real, loss_fake = self.losses[0](on_real, on_fake)
        loss_real, loss_fake = loss_real + of_real, loss_fake + of_fake
        loss = loss_real + loss_fake
        if self.r1 and self.steps % self.r1_every == 0:
            given = real.clone().requires_grad_()
            (slope,) = torch.autograd.grad(critic(given).sum(), given, create_graph=True)
            loss = loss + self.r1 / 2 * self.r1_every * slope.square().sum((1, 2, 3)).mean()
        if self.penalty:
            mix = self.mixes.uniform(0, 1, BATCH, 1, 1, 1).to(self.dtype)
            between = (fake + mix * (real - fake)).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            norm = (slope.square().sum((1, 2, 3)) + 1e-12).sqrt()
            loss = loss + self.penalty * (norm - 1).square().mean()
        loss.backward()
        self.adam_d.step()
        if self.clip:
            with torch.no_grad():
                for parameter in self.d.parameters():
                    parameter.clamp_(-self.clip, self.clip)
        return (loss_real + loss_fake).item()

    def update_g(self, real, classes, fake):
        self.g.zero_grad()
        if self.matching:
            seen = self.d["main"][:-1]
            loss = self.losses[1](seen(fake), seen(real).detach())
        else:
            on_fake, of_fake = self.discriminate(fake, classes)
            # Only relativistic losses use real images here.
            on_real = self.d["main"](real) if self.relative else None
            loss = self.losses[1](on_fake, on_real) + of_fake
        loss.backward()
        self.adam_g.step()
        return loss.item()

    def step(self):
        of_g = [self.real() for _ in range(self.g_steps)] if self.alternate else []
        reals = [self.real() for _ in range(self.d_steps)]
        z = self.draw()
        losses = self.train_step(reals, of_g or reals[:1] * self.g_steps, z)
        self.steps += 1
        return losses

    def train_step(self, reals, of_g, z):
        if self.first:
            for update, (real, classes) in enumerate(of_g):
                z = self.draw() if update else z
                g_loss = self.update_g(real, classes, self.generate(z, classes))
            for real, classes in reals:
                d_loss = self.update_d(real, classes, self.generate(self.draw(), classes).detach())
            return d_loss, g_loss
        real, classes = reals[0]
        fake = self.generate(z, classes)
        d_loss = self.update_d(real, classes, fake.detach())
        for other, theirs in reals[1:]:
            d_loss = self.update_d(other, theirs, self.generate(z, theirs).detach())
        return d_loss, self.update_g(real, classes, fake)


def run(case, seed, dtype, layout=torch.contiguous_format, gaps=None):
    case_run = Run(case, seed, dtype, layout)
    if gaps is not None:
        for layer in [*case_run.g["main"], *case_run.d["main"]]:
            if isinstance(layer, (nn.ReLU, nn.LeakyReLU)):
                layer.register_forward_pre_hook(
                    lambda _, xs: gaps.append((xs[0].abs().min() / xs[0].std()).item()))
    losses = np.array([case_run.step() for _ in range(STEPS)])
    final = {f"g/{key}": value for key, value in state(case_run.g, np.float64).items()}
    return (losses,
            final | {f"d/{key}": value for key, value in state(case_run.d, np.float64).items()})


def drift(runs, exact):
    """The largest distance of any run."""
    floats = {key: value for key, value in exact[1].items() if value.dtype.kind == "f"}
    away = lambda run, key: float(
        np.linalg.norm(run[1][key] - floats[key]) / np.linalg.norm(floats[key]))
    losses = np.max([np.abs(run[0] - exact[0]).max(0) for run in runs], 0)
    return {"d_loss": losses[0], "g_loss": losses[1],
            "final": {key: max(away(run, key) for run in runs) for key in floats}}


def narrow(arrays):
    return {key: value.astype(np.float32) if value.dtype.kind == "f" else value
            for key, value in arrays.items()}


def main():
    # oneDNN's switch warns about TF32 on hardware without it.
    warnings.filterwarnings("ignore")
    tensors, infos = {}, []
    for sizes, chosen in [((4, 4, 10, KINK_GAP), cases()), ((32, 16, 3, 4e-6), wide_cases())]:
        resize(*sizes)
        tensors |= {f"real/{BATCH}/{i}": images(i) for i in range(2 * STEPS)}
        for case in chosen:
            add(case, tensors, infos)
    write_tensors(OUT + ".safetensors", tensors)
    write_json(OUT + ".json", infos)


def add(case, tensors, infos):
    name, keys, *_ = case
    for seed in itertools.count():
        gaps = []
        exact = run(case, seed, torch.float64, gaps=gaps)
        if min(gaps) > KINK_GAP:
            break
    runs = [run(case, seed, torch.float32), run(case, seed, torch.float32, torch.channels_last)]
    with torch.backends.mkldnn.flags(enabled=False):
        runs.append(run(case, seed, torch.float32))
    found = drift(runs, exact)
    d_drift, g_drift = found["d_loss"], found["g_loss"]
    print(f"{name}: seed {seed}, losses drift by {d_drift:.1e} and {g_drift:.1e}, "
          f"weights by {max(found['final'].values()):.1e}")
    for letter, net in zip("gd", networks(case, seed)):
        tensors |= {f"{name}/{letter}/{key}": value
                    for key, value in state(net, np.float32).items()}
    tensors |= {f"{name}/final_{key}": value for key, value in narrow(exact[1]).items()}
    d_loss, g_loss = exact[0].T.tolist()
    infos.append({"case": name, "changes": list(keys.items()), "d_loss": d_loss,
                  "g_loss": g_loss, "drift": found})


if __name__ == "__main__":
    main()
