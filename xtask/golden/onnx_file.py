"""A small ONNX file that `onnx.helper` makes, which crates/nn/src/export/onnx/tests.rs compares
byte for byte with this project's.

Writes crates/nn/tests/golden/onnx/: recipe.toml; generator.safetensors, a state dict; and
generator.onnx, the generator with batch norm as a node. The file passes onnx.checker, and
onnxruntime's images are compared with those of PyTorch's functions before anything is written.
"""

import sys

sys.dont_write_bytecode = True

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from fixture import normal, rng_for, write_tensors

OUT = "crates/nn/tests/golden/onnx/"
RECIPE = """\
base = "small"
name = "tiny"

[image]
size = [5, 4]
channels = 3
range = "unit"

[condition]
kind = "class"
size = 3

[generator]
latent = 2
layers = [
  { layer = "condition" },
  { layer = "linear", units = 12 },
  { layer = "batch-norm" },
  { layer = "relu" },
  { layer = "reshape", shape = [2, 2, 3] },
  { layer = "conv-transpose", channels = 4, kernel = [3, 2], stride = 2, pad = [[0, 1], [1, 0]], output_padding = 1 },
  { layer = "leaky-relu", slope = 0.25 },
  { layer = "conv", channels = 0, kernel = 3, pad = 1 },
  { layer = "sigmoid" },
]

[discriminator]
layers = [
  { layer = "condition" },
  { layer = "flatten" },
  { layer = "linear", units = 1 },
]
"""

rng = rng_for("onnx")
state = {
    "main.1.weight": normal(rng, (12, 5)),
    "main.1.bias": normal(rng, (12,)),
    "main.2.weight": normal(rng, (12,), 0.2, 1.0),
    "main.2.bias": normal(rng, (12,)),
    "main.2.running_mean": normal(rng, (12,)),
    "main.2.running_var": normal(rng, (12,)) ** 2 + np.float32(0.1),
    "main.2.num_batches_tracked": np.array(3, dtype=np.int64),
    "main.5.weight": normal(rng, (3, 4, 3, 2)),
    "main.5.bias": normal(rng, (4,)),
    "main.7.weight": normal(rng, (3, 4, 3, 3)),
    "main.7.bias": normal(rng, (3,)),
}
nodes, initializers = [], []


def node(operator, name, inputs, **attributes):
    nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))


def tensor(name, value):
    value = np.asarray(value)
    kind = TensorProto.INT64 if value.dtype == np.int64 else TensorProto.FLOAT
    initializers.append(helper.make_tensor(name, kind, value.shape, value.tobytes(), raw=True))


tensor("condition/depth", np.int64(3))
tensor("condition/values", np.float32([0, 1]))
node("OneHot", "condition/OneHot", ["class", "condition/depth", "condition/values"], axis=-1)
node("Concat", "main.0/Concat", ["latents", "condition/OneHot"], axis=1)
for key in list(state)[:6]:
    tensor(key, state[key])
node("Gemm", "main.1/Gemm", ["main.0/Concat", "main.1.weight", "main.1.bias"], transB=1)
statistics = [f"main.2.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
node("BatchNormalization", "main.2/BatchNormalization", ["main.1/Gemm", *statistics], epsilon=1e-5)
node("Relu", "main.3/Relu", ["main.2/BatchNormalization"])
tensor("main.4/[-1,3,2,2]", np.int64([-1, 3, 2, 2]))
node("Reshape", "main.4/Reshape", ["main.3/Relu", "main.4/[-1,3,2,2]"])
for key in list(state)[7:9]:
    tensor(key, state[key])
node(
    "ConvTranspose",
    "main.5/ConvTranspose",
    ["main.4/Reshape", "main.5.weight", "main.5.bias"],
    kernel_shape=[3, 2],
    strides=[2, 2],
    pads=[0, 1, 1, 0],
    output_padding=[1, 1],
)
node("LeakyRelu", "main.6/LeakyRelu", ["main.5/ConvTranspose"], alpha=0.25)
for key in list(state)[9:]:
    tensor(key, state[key])
node(
    "Conv",
    "main.7/Conv",
    ["main.6/LeakyRelu", "main.7.weight", "main.7.bias"],
    kernel_shape=[3, 3],
    strides=[1, 1],
    pads=[1, 1, 1, 1],
)
node("Sigmoid", "main.8/Sigmoid", ["main.7/Conv"])
tensor("images/2", np.float32(2))
node("Mul", "images/Mul", ["main.8/Sigmoid", "images/2"])
tensor("images/-1", np.float32(-1))
node("Add", "images/Add", ["images/Mul", "images/-1"])
node("Identity", "images", ["images/Add"])

info = helper.make_tensor_value_info
graph = helper.make_graph(
    nodes,
    "generator",
    [info("latents", TensorProto.FLOAT, ["batch", 2]), info("class", TensorProto.INT64, ["batch"])],
    [info("images", TensorProto.FLOAT, ["batch", 3, 5, 4])],
    initializers,
)
model = onnx.ModelProto(
    ir_version=8,
    producer_name="dcgan",
    graph=graph,
    opset_import=[onnx.OperatorSetIdProto(version=17)],
)
model.metadata_props.add(key="name", value="tiny")
onnx.checker.check_model(model, full_check=True)

z, y = normal(rng, (5, 2)), np.array([0, 1, 2, 1, 0])
run = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(images,) = run.run(None, {"latents": z, "class": y})
w = {key: torch.from_numpy(np.array(value)) for key, value in state.items()}
x = torch.cat([torch.from_numpy(z), F.one_hot(torch.from_numpy(y), 3).float()], 1)
x = F.linear(x, w["main.1.weight"], w["main.1.bias"])
x = F.batch_norm(x, *(w[f"main.2.{p}"] for p in ("running_mean", "running_var", "weight", "bias")))
x = F.conv_transpose2d(F.relu(x).view(-1, 3, 2, 2), w["main.5.weight"], w["main.5.bias"], 2, 0, 1)
x = F.leaky_relu(x[:, :, :-1, 1:], 0.25)
x = 2 * torch.sigmoid(F.conv2d(x, w["main.7.weight"], w["main.7.bias"], padding=1)) - 1
assert images.shape == (5, 3, 5, 4) and np.abs(images - x.numpy()).max() < 1e-5

write_tensors(OUT + "generator.safetensors", state)
with open(OUT + "recipe.toml", "w", encoding="utf-8", newline="\n") as file:
    file.write(RECIPE)
with open(OUT + "generator.onnx", "wb") as file:
    file.write(model.SerializeToString())
print(f"{OUT}generator.onnx: {len(model.SerializeToString())} bytes")
