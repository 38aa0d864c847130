"""pytorch-fid's Inception network with random weights, for `cargo xtask bench-inception --peer
PYTHON`.

Usage: inception_baseline.py LAYOUT SIDE BATCH THREADS (LAYOUT: nchw or channels_last)
Prints "ready", then for each line on standard input computes the features of a batch of random
images once and prints its seconds; at the end of input prints the process's peak resident memory in
bytes. Needs pytorch-fid and torchvision.
"""
import resource
import sys
import time

import pytorch_fid.inception
import torch

layout = sys.argv[1]
side, batch, threads = map(int, sys.argv[2:5])
torch.set_num_threads(threads)
torch.manual_seed(1)
construct = pytorch_fid.inception._inception_v3
made = []


def recorded(*args, **kwargs):
    made.append(construct(*args, **kwargs))
    return made[0]


pytorch_fid.inception._inception_v3 = recorded
# Its own random weights, in place of the published ones.
pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: made[0].state_dict()
memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
model = pytorch_fid.inception.InceptionV3().eval().to(memory_format=memory)
images = torch.rand(batch, 3, side, side).contiguous(memory_format=memory)
print("ready", flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    with torch.no_grad():
        model(images)
    print(time.perf_counter() - start, flush=True)
unit = 1 if sys.platform == "darwin" else 1024
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
