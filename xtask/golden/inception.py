"""The Inception network of FID with random weights: features, logits and FID by pytorch-fid in
float64, for crates/eval/tests/inception.rs.

The published weights (90 MB) are not in this repository, so the weights are a function of a
counter, which the test computes, too:

* element j of a tensor has the value `2 h / 2^24 - 1`, where h is the upper 24 bits of the
  finalizer of MurmurHash3 of `j * 0x9E3779B1 + n` modulo 2^32, and n the CRC-32 of its name;
* convolutions and `fc.weight` scale it by `sqrt(6 / fan-in)` (He et al. 2015), a batch norm's
  variance is `1 + value / 2`, its weight `1 + value / 4`, all else `value / 4`.

Images are bytes: the upper 8 bits of the same hash with the name `image k`; those of the second set
are raised to at least 128.

Keys of inception.safetensors (float32):
  features        [4, 2048]: images 0 and 1 of the first set, image 0 of the second one (gray, and
                  larger than the network's input), and image 1 of the first set resized as
                  clean-fid does
  logits          [2, 1008] of the first two, without the bias
inception.json: `fid` of the two sets by pytorch-fid.

Needs pytorch-fid, clean-fid and torchvision (pip install --no-deps).
"""

import sys

sys.dont_write_bytecode = True

import math
import zlib

import numpy as np
import pytorch_fid.inception
import torch
from cleanfid.resize import build_resizer
from pytorch_fid.fid_score import calculate_frechet_distance

from fixture import write_json, write_tensors

OUT = "crates/eval/tests/golden/inception"
IMAGES = 4
FIRST, SECOND = (32, 40, 3), (310, 301, 1)


def hashes(name, count):
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
        h += np.uint32(zlib.crc32(name.encode()))
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x85EBCA6B)
        h ^= h >> np.uint32(13)
        h *= np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    return h


def weights(like):
    """The state dict for a network with these tensors."""
    state = dict(like)
    for name, tensor in like.items():
        if name.endswith("num_batches_tracked"):
            continue
        shape = tuple(tensor.shape)
        value = (hashes(name, math.prod(shape)) >> np.uint32(8)).astype(np.float64) / 2**23 - 1
        if name.endswith(("conv.weight", "fc.weight")):
            value = value * math.sqrt(6 / math.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = 1 + value / 2
        elif name.endswith("bn.weight"):
            value = 1 + value / 4
        else:
            value = value / 4
        state[name] = torch.from_numpy(value.astype(np.float32).reshape(shape))
    return state


def network():
    """pytorch-fid's network with these weights in place of the published ones, in float64, and the
    weight of its classifier."""
    module = pytorch_fid.inception
    construct, made = module._inception_v3, []

    def recorded(*args, **kwargs):
        made.append(construct(*args, **kwargs))
        return made[0]

    module._inception_v3 = recorded
    # The network is patched after its construction, and then its weights are loaded.
    module.load_state_dict_from_url = lambda *_, **__: weights(made[0].state_dict())
    model = module.InceptionV3().eval().double()
    return model, made[0].fc.weight.detach().double().numpy()


def image(k, shape, least=0):
    """Bytes [H, W, 3]."""
    own = (hashes(f"image {k}", math.prod(shape)) >> np.uint32(24)).astype(np.uint8).reshape(shape)
    own = np.maximum(own, np.uint8(least))
    return np.repeat(own, 3, axis=2) if shape[2] == 1 else own


def main():
    model, classifier = network()

    def features(pictures):
        rows = []
        for picture in pictures:
            x = torch.from_numpy(picture).permute(2, 0, 1)[None].double() / 255
            rows.append(model(x)[0].detach().numpy()[0, :, 0, 0])
        return np.stack(rows)

    first = features([image(k, FIRST) for k in range(IMAGES)])
    second = features([image(IMAGES + k, SECOND, 128) for k in range(IMAGES)])
    model.resize_input = model.normalize_input = False
    resized = (build_resizer("clean")(image(1, FIRST)) - 128) / 128
    x = torch.from_numpy(resized).permute(2, 0, 1)[None].double()
    clean = model(x)[0].detach().numpy()[0, :, 0, 0]

    write_tensors(f"{OUT}.safetensors", {
        "features": np.stack([first[0], first[1], second[0], clean]).astype(np.float32),
        "logits": (first[:2] @ classifier.T).astype(np.float32),
    })
    statistics = [(np.mean(rows, axis=0), np.cov(rows, rowvar=False)) for rows in (first, second)]
    write_json(f"{OUT}.json", {"fid": calculate_frechet_distance(*statistics[0], *statistics[1])})


if __name__ == "__main__":
    main()
