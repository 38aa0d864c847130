"""Compares the ONNX files and PyTorch modules that `cargo xtask check-exports` wrote with this
program's outputs, and prints the table of docs/export.md.

Arguments: folders, each with the files of one recipe. Every ONNX file is checked by
`onnx.checker.check_model(full_check=True)` and run by onnxruntime with batches of 1 and of all
samples (D with layers that mix the samples has other logits for each); every module loads its
state dict and runs under PyTorch. A difference is max |a - b|, of logits relative to max(1, max
|b|). Exits with 1 if one is above its bound.
"""

import importlib.util
import os
import sys
import warnings

sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.numpy import load_file

# The bounds of single precision, of weights in half precision, and of bytes.
BOUND, BOUND_HALF, BOUND_BYTES = 1e-5, 1e-2, 1
failures = []


def nchw(images):
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def session(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8 and [o.version for o in model.opset_import] == [17], path
    keys = {entry.key for entry in model.metadata_props}
    assert {"name", "network", "recipe", "step", "hash"} <= keys, keys
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def inputs(run, values, condition, rows):
    given = {run.get_inputs()[0].name: values[:rows]}
    for extra in run.get_inputs()[1:]:
        index = extra.name == "class"
        given[extra.name] = (condition.argmax(1) if index else condition)[:rows]
    return given


def difference(found, wanted, relative=False):
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    scale = max(1.0, float(np.abs(wanted).max())) if relative else 1.0
    return float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max()) / scale


def module(path):
    spec = importlib.util.spec_from_file_location("network", path)
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)
    return network.load(path[: -len("py")] + "safetensors")


def check(folder):
    name = os.path.basename(folder)
    at = lambda file: os.path.join(folder, file)
    expected = load_file(at("expected.safetensors"))
    images, latents, real = nchw(expected["images"]), expected["latents"], nchw(expected["real"])
    condition, count = expected.get("condition"), len(latents)
    bytes_ = np.floor((expected["images"] + 1) * 127.5 + 0.5).clip(0, 255)
    found = {}

    def note(what, value, bound):
        found[what] = max(found.get(what, 0.0), value)
        if not value <= bound:
            failures.append(f"{name}: {what} differs by {value:.3g}, more than {bound}")

    for rows in (1, count):
        for form in ("plain", "no-fold", "half"):
            bound = BOUND_HALF if form == "half" else BOUND
            run = session(at(f"generator-{form}.onnx"))
            (drawn,) = run.run(None, inputs(run, latents, condition, rows))
            note(f"G {form}", difference(drawn, images[:rows]), bound)
            run = session(at(f"discriminator-{form}.onnx"))
            outputs = run.run(None, inputs(run, real, condition, rows))
            for output, meta in zip(outputs, run.get_outputs()):
                wanted = expected[f"{meta.name}_{rows}"]
                note(f"D {form}", difference(output, wanted, True), bound)
        run = session(at("generator-uint8.onnx"))
        (drawn,) = run.run(None, inputs(run, latents, condition, rows))
        assert drawn.dtype == np.uint8, drawn.dtype
        note("G uint8", difference(drawn, bytes_[:rows]), BOUND_BYTES)
        with torch.no_grad():
            for network, values in (("generator", latents), ("discriminator", real)):
                own = module(at(f"{network}.py"))
                given = [torch.from_numpy(values[:rows])]
                if "y" in own.forward.__code__.co_varnames:
                    index = "F.one_hot" in open(at(f"{network}.py")).read()
                    second = condition.argmax(1) if index else condition
                    given.append(torch.from_numpy(second)[:rows])
                outputs = own(*given)
                if network == "generator":
                    note("G PyTorch", difference(outputs.numpy(), images[:rows]), BOUND)
                    continue
                outputs = outputs if isinstance(outputs, tuple) else (outputs,)
                for output, key in zip(outputs, ("logits", "class_logits")):
                    wanted = expected[f"{key}_{rows}"]
                    note("D PyTorch", difference(output.numpy(), wanted, True), BOUND)
    assert (f"class_logits_{count}" in expected) == (len(run_outputs(at)) == 2)
    spread = float(images.std())
    modules = [at("generator.py"), at("discriminator.py")]
    lines = [len(open(path).readlines()) for path in modules]
    return found, spread, lines


def run_outputs(at):
    return session(at("discriminator-plain.onnx")).get_outputs()


def main(folders):
    torch.set_num_threads(1)
    columns = [f"{n} {form}" for n in "GD" for form in ("plain", "no-fold", "half", "PyTorch")]
    columns.insert(3, "G uint8")
    print("| recipe | " + " | ".join(columns) + " |")
    print("| --- |" + " --- |" * len(columns))
    for folder in folders:
        found, spread, lines = check(folder)
        cells = [f"{found[c]:.0f}" if c == "G uint8" else f"{found[c]:.1e}" for c in columns]
        print(f"| `{os.path.basename(folder)}` | " + " | ".join(cells) + " |")
        name = os.path.basename(folder)
        print(f"{name}: std of images {spread:.3f}, lines {lines}", file=sys.stderr)
    for failure in failures:
        print(failure, file=sys.stderr)
    sys.exit(1 if failures else 0)


main(sys.argv[1:])
