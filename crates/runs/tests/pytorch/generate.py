#!/usr/bin/env python3
"""Writes the small files of this folder with torch.save (made with PyTorch 2.15).

Needs torch. Element i of a tensor "a" of n elements is i - n/2, of others as written below.

    python3 generate.py
"""

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def save(name, value, **options):
    torch.save(value, HERE / name, **options)


def a(*shape, dtype=torch.float32):
    n = torch.Size(shape).numel()
    return (torch.arange(n, dtype=torch.float64) - n / 2).reshape(shape).to(dtype)


def generator():
    """The generator of pytorch/examples for images of 8x8x1, without names of a class."""
    main = torch.nn.Sequential(
        torch.nn.ConvTranspose2d(3, 2, 4, 1, 0, bias=False),
        torch.nn.BatchNorm2d(2),
        torch.nn.ReLU(True),
        torch.nn.ConvTranspose2d(2, 1, 4, 2, 1, bias=False),
        torch.nn.Tanh(),
    )
    torch.nn.init.constant_(main[3].weight, 0.25)
    return OrderedDict((f"main.{k}", v) for k, v in main.state_dict().items())


def discriminator():
    main = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 4, 2, 1, bias=False),
        torch.nn.LeakyReLU(0.2, inplace=True),
        torch.nn.Conv2d(2, 1, 4, 1, 0, bias=False),
        torch.nn.Sigmoid(),
    )
    return OrderedDict((f"main.{k}", v) for k, v in main.state_dict().items())


class Evil:
    def __reduce__(self):
        return os.system, ("touch a-pickle-was-called",)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)


def types():
    kinds = {
        "f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
        "i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8,
    }
    return {name: a(2, 3, dtype=dtype) for name, dtype in kinds.items()} | {
        "u8": torch.tensor([0, 255], dtype=torch.uint8),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 4),
    }


def views():
    base = a(4, 6)
    return {
        "permuted": base.permute(1, 0),
        "sliced": base[1:, 2::2],
        "row": base[3],
        "expanded": base[0, :2].expand(3, 2),
        "base": base,
        "parameter": torch.nn.Parameter(a(2)),
    }


def main():
    torch.manual_seed(0)
    for name, options in {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}}.items():
        save(f"types-{name}.pt", types(), **options)
        save(f"views-{name}.pt", views(), **options)
    save("protocol4.pt", views(), pickle_protocol=4)
    g, d = generator(), discriminator()
    save("generator.pth", g)
    save("prefix.pth", OrderedDict((f"module.{k}", v) for k, v in g.items()),
         _use_new_zipfile_serialization=False)
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": a(2)}},
                 "param_groups": [{"lr": 2e-4}]}
    save("nested.pth", {"epoch": 5, "state_dict": g, "optimizer": optimizer})
    save("both.pth", {"netG": g, "netD": d, "epoch": 5})
    save("ema.pth", {"netG": g, "ema": OrderedDict((k, v.clone()) for k, v in g.items())})
    save("malicious.pth", {"a": a(2), "b": Evil()})
    save("bool.pt", {"a": torch.tensor([True])})
    save("module-zip.pt", Net())
    save("module-legacy.pt", Net(), _use_new_zipfile_serialization=False)
    save("tensor.pt", a(2, 3))
    save("nothing.pt", {"epoch": 5})
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), HERE / "script.pt")
    (HERE / "plain.pkl").write_bytes(pickle.dumps({"a": [1, 2]}, protocol=2))


main()
