"""The pytorch/examples DCGAN or the paper's, for `cargo xtask bench-step --peer PYTHON` and
`bench-sample`.

Usage: pytorch_baseline.py RECIPE WORK LAYOUT DEVICE SIDE CHANNELS BATCH THREADS (RECIPE: torch or
paper; WORK: step, a training step, or sample, batches from the generator in evaluation mode up to
64 images; LAYOUT: nchw or channels_last; DEVICE: cpu or gpu)
Prints "ready", then for each line on standard input does the work once and prints its seconds; at
the end of input prints the process's peak resident memory in bytes (on a GPU, the peak of torch's
allocations there).
"""
import resource
import sys
import time

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

recipe, work, layout, where = sys.argv[1:5]
side, channels, batch, threads = map(int, sys.argv[5:9])
device = torch.device("cuda" if where == "gpu" else "cpu")
torch.set_num_threads(threads)
torch.manual_seed(1)
memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
paper = recipe == "paper"
width, kernel, latent = 128 if paper else 64, 5 if paper else 4, 100
window = dict(kernel_size=kernel, stride=2, padding=(kernel - 1) // 2, bias=False)
grow = dict(output_padding=kernel % 2, **window)
levels, base = 0, side
while base % 2 == 0 and base // 2 >= 4:
    levels, base = levels + 1, base // 2


def generator():
    c = width << (levels - 1)
    if paper:
        units = c * base * base
        layers = [nn.Flatten(), nn.Linear(latent, units, False), nn.BatchNorm1d(units),
                  nn.ReLU(True), nn.Unflatten(1, (c, base, base))]
    else:
        layers = [nn.ConvTranspose2d(latent, c, base, 1, 0, bias=False), nn.BatchNorm2d(c),
                  nn.ReLU(True)]
    for _ in range(levels - 1):
        layers += [nn.ConvTranspose2d(c, c // 2, **grow), nn.BatchNorm2d(c // 2), nn.ReLU(True)]
        c //= 2
    return nn.Sequential(*layers, nn.ConvTranspose2d(c, channels, **grow), nn.Tanh())


def discriminator():
    layers, c = [nn.Conv2d(channels, width, **window), nn.LeakyReLU(0.2, True)], width
    for _ in range(levels - 1):
        layers += [nn.Conv2d(c, 2 * c, **window), nn.BatchNorm2d(2 * c), nn.LeakyReLU(0.2, True)]
        c *= 2
    head = ([nn.Flatten(), nn.Linear(c * base * base, 1, False)] if paper
            else [nn.Conv2d(c, 1, base, 1, 0, bias=False)])
    return nn.Sequential(*layers, *head)


g, d = (net.to(device=device, memory_format=memory) for net in (generator(), discriminator()))
for m in [*g.modules(), *d.modules()]:
    if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(m.weight, 0, 0.02)
    elif isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
        nn.init.normal_(m.weight, 1, 0.02)
g_adam = torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999))
d_adam = torch.optim.Adam(d.parameters(), 2e-4, (0.5, 0.999))
real = torch.rand(batch, channels, side, side).mul_(2).sub_(1)
real = real.to(device=device, memory_format=memory)
one, zero = torch.ones(batch, device=device), torch.zeros(batch, device=device)


def step():
    d.zero_grad()
    bce(d(real).view(-1), one).backward()
    fake = g(torch.randn(batch, latent, 1, 1, device=device))
    bce(d(fake.detach()).view(-1), zero).backward()
    d_adam.step()
    g.zero_grad()
    bce(d(fake).view(-1), one).backward()
    g_adam.step()
    if device.type == "cuda":
        torch.cuda.synchronize()


def sample():
    with torch.inference_mode():
        for _ in range(-(-64 // batch)):
            g(torch.randn(batch, latent, 1, 1, device=device))
    if device.type == "cuda":
        torch.cuda.synchronize()


if work == "sample":
    g.eval()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    step() if work == "step" else sample()
    print(time.perf_counter() - start, flush=True)
if device.type == "cuda":
    print(torch.cuda.max_memory_allocated())
    sys.exit()
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
