"""Golden vectors of every tensor op: values, gradients and gradients of gradients, by PyTorch in
float64.

Writes crates/tensor/tests/golden/ops.safetensors and ops.json. Inputs are float32 values, converted
to float64.

Per case, with in0.. the inputs, gout a random output gradient and v0.. random directions (F32):
    out    = op(in0, ..)                                                            F64
    din_i  = d <gout, out> / d in_i                                                 F64
    S      = sum_i <din_i, v_i>
    d2in_i = d S / d in_i,   d2gout = d S / d gout   (zero where S does not depend) F64

ops.json: {"case", "op", "inputs", "differentiable", "attrs"}. An input missing from
"differentiable" (the targets of a loss) has v = 0, so that S is the same for an implementation
which holds it constant; its din and d2in are there all the same, for one that does not.

Layouts are this project's: images NHWC, convolution weights [kh, kw, cin, cout] of the strided
convolution. "geom" gives input, kernel and stride as [height, width] and pad as [[top, bottom],
[left, right]].
"""

import sys

sys.dont_write_bytecode = True

import numpy as np
import torch
import torch.nn.functional as F

from fixture import double, normal, rng_for, write_json, write_tensors

OUT = "crates/tensor/tests/golden/ops"
cases = []
tensors = {}


# ------------------------------------------------------------------------------------------- inputs


def spaced(rng, *shapes):
    """Arrays whose values, all taken together, are distinct and evenly spaced over about [-2, 2]:
    no ties."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    total = sum(sizes)
    values = ((rng.permutation(total) + 0.5) / total * 4 - 2).astype(np.float32)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def away_from(x, kinks, gap=0.05):
    """Moves values closer than `gap` to a kink slightly beyond that distance."""
    for kink in kinks:
        near = np.abs(x - kink) < gap
        side = np.where(x >= kink, 1, -1)
        x = np.where(near, kink + side * (gap + np.abs(x - kink)), x).astype(np.float32)
    return x


def positive(rng, shape, lo=0.3, hi=3.0):
    return np.asarray(rng.uniform(lo, hi, shape), dtype=np.float32)


# --------------------------------------------------------------------------------------- the writer


def case(name, op, inputs, attrs, function, constant=()):
    """Computes and records one case; `function` maps float64 tensors to the output."""
    assert not any(c["case"] == name for c in cases), name
    rng = rng_for(name + ":gradients")
    xs = [double(x).requires_grad_() for x in inputs]
    out = function(*xs)
    gout = normal(rng, tuple(out.shape))
    vs = [normal(rng, x.shape) * (0 if i in constant else 1) for i, x in enumerate(inputs)]
    g = double(gout).requires_grad_()
    # Zeros where the output does not depend on an input (materialize), and a sum that always has a
    # graph.
    din = torch.autograd.grad(out, xs, g, create_graph=True, allow_unused=True,
                              materialize_grads=True)
    s = sum((d * double(v)).sum() for d, v in zip(din, vs)) + 0 * g.sum()
    second = torch.autograd.grad(s, [*xs, g], allow_unused=True, materialize_grads=True)

    record = {"out": out, "d2gout": second[-1]}
    for i in range(len(xs)):
        record |= {f"din{i}": din[i], f"d2in{i}": second[i]}
    # + 0.0 turns a negative zero into a plain one.
    record = {key: value.numpy(force=True) + 0.0 for key, value in record.items()}
    record["gout"] = gout
    for i in range(len(xs)):
        record |= {f"in{i}": inputs[i], f"v{i}": vs[i] + np.float32(0)}
    for key, value in record.items():
        wanted = np.float64 if key.startswith(("out", "d")) else np.float32
        value = np.asarray(value)
        assert value.dtype == wanted, (name, key, value.dtype)
        tensors[f"{name}/{key}"] = value
    differentiable = [i for i in range(len(xs)) if i not in constant]
    cases.append({"case": name, "op": op, "inputs": len(xs), "differentiable": differentiable,
                  "attrs": attrs})


# -------------------------------------------------------------------------------------- elementwise


def softplus(x):
    # F.softplus goes linear above 20 by default: 2e-9 off, visible in float64.
    return F.softplus(x, threshold=600)


class GuidedLeakyRelu(torch.autograd.Function):
    """Guided backpropagation: gradients pass only if they and the input are positive."""

    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x)
        return F.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return torch.relu(gradient) * (x > 0), None


def unary():
    plain = lambda rng, shape: normal(rng, shape, 1.5)
    no_zero = lambda rng, shape: away_from(normal(rng, shape, 1.5), [0])
    table = [
        ("neg", {}, plain, torch.neg),
        ("exp", {}, plain, torch.exp),
        ("log", {}, positive, torch.log),
        ("sqrt", {}, positive, torch.sqrt),
        ("tanh", {}, plain, torch.tanh),
        ("sigmoid", {}, plain, torch.sigmoid),
        ("relu", {}, no_zero, torch.relu),
        ("leaky_relu", {"slope": 0.2}, no_zero, lambda x: F.leaky_relu(x, 0.2)),
        ("guided_leaky_relu", {"slope": 0.2}, no_zero, lambda x: GuidedLeakyRelu.apply(x, 0.2)),
        ("softplus", {}, plain, softplus),
        ("abs", {}, no_zero, torch.abs),
        ("square", {}, plain, torch.square),
        ("recip", {}, no_zero, torch.reciprocal),
    ]
    table += [("powf", {"p": p}, positive, lambda x, p=p: x**p) for p in (2.0, 3.0, 0.5, -1.5)]
    clamp_inputs = lambda rng, shape: away_from(normal(rng, shape), [-0.5, 0.75])
    table.append(("clamp", {"low": -0.5, "high": 0.75}, clamp_inputs,
                  lambda x: torch.clamp(x, -0.5, 0.75)))
    for op, attrs, draw, function in table:
        suffix = "".join(f".p{p}" for p in attrs.values()) if op == "powf" else ""
        for shape in [(19,), (2, 3, 2)]:
            name = f"{op}{suffix}.{'x'.join(map(str, shape))}"
            case(name, op, [draw(rng_for(name), shape)], attrs, function)
    # Where a naive formula overflows or cancels.
    far = np.array([-80, -30, -12, -3, -0.5, 0.5, 3, 12, 30, 80], dtype=np.float32)
    for op, function in [("sigmoid", torch.sigmoid), ("softplus", softplus), ("tanh", torch.tanh)]:
        case(f"{op}.far", op, [far], {}, function)
    slope = "leaky_relu.slope0.01"
    case(slope, "leaky_relu", [away_from(normal(rng_for(slope), (11,)), [0])], {"slope": 0.01},
         lambda x: F.leaky_relu(x, 0.01))
    name = "tanh.scalar"
    case(name, "tanh", [normal(rng_for(name), ())], {}, torch.tanh)


def binary():
    every = [((3, 7), (3, 7)), ((2, 3, 4), (4,)), ((2, 1, 4), (3, 1))]
    more = [((5,), ()), ((), (2, 3)), ((2, 3, 2, 5), (1, 1, 1, 5)), ((2, 3, 4), (2, 1, 1)),
            ((4, 1), (1, 19)), ((1, 2, 1, 2, 3), (2, 2, 1, 3))]
    table = [
        ("add", more, torch.add),
        ("sub", more[:2], torch.sub),
        ("mul", more, torch.mul),
        ("div", more[:2], torch.div),
        ("maximum", more[:3], torch.maximum),
        ("minimum", more[:3], torch.minimum),
    ]
    for op, extra, function in table:
        for a, b in every + extra:
            label = lambda shape: "x".join(map(str, shape)) or "scalar"
            name = f"{op}.{label(a)}.{label(b)}"
            rng = rng_for(name)
            inputs = (spaced(rng, a, b) if op in ("maximum", "minimum")
                      else [normal(rng, a), normal(rng, b)])
            if op == "div":
                inputs[1] = away_from(inputs[1], [0], gap=0.4)
            case(name, op, inputs, {}, function)


# ---------------------------------------------------------------------------- reductions and matmul


def reductions():
    table = [
        ((13,), [0]),
        ((3, 5), [1]),
        ((3, 5), [0]),
        ((2, 3, 4), [0, 2]),
        ((2, 3, 4), [0, 1, 2]),
        ((2, 3, 2, 5), [0, 1, 2]),
        ((2, 2, 3, 2, 3), [1, 3]),
        ((1, 140), [1]),
        ((70, 3), [0]),
    ]
    for op, function in [("sum", torch.sum), ("mean", torch.mean)]:
        for i, (shape, axes) in enumerate(table):
            keepdim = i % 2 == 1
            name = f"{op}.{'x'.join(map(str, shape))}.{''.join(map(str, axes))}"
            attrs = {"axes": axes, "keepdim": keepdim}
            # A mean of one: around zero the sum would cancel, and only the rounding of the input
            # would be measured.
            x = normal(rng_for(name), shape, mean=1.0)
            case(name, op, [x], attrs, lambda x: function(x, dim=axes, keepdim=keepdim))

    along = [((9,), 0), ((3, 5), 1), ((3, 5), 0), ((2, 4, 3), 1), ((2, 40), 1), ((3, 1), 1)]
    kinds = [
        ("max", lambda x, axis, keepdim: x.max(dim=axis, keepdim=keepdim).values),
        ("log_sum_exp", lambda x, axis, keepdim: torch.logsumexp(x, axis, keepdim)),
    ]
    for op, function in kinds:
        for i, (shape, axis) in enumerate(along):
            keepdim = i % 2 == 1
            name = f"{op}.{'x'.join(map(str, shape))}.{axis}"
            rng = rng_for(name)
            x = spaced(rng, shape)[0] if op == "max" else normal(rng, shape, 2)
            attrs = {"axis": axis, "keepdim": keepdim}
            case(name, op, [x], attrs, lambda x: function(x, axis, keepdim))
    for op, function in [("softmax", torch.softmax), ("log_softmax", torch.log_softmax)]:
        for shape, axis in along[:5]:
            name = f"{op}.{'x'.join(map(str, shape))}.{axis}"
            case(name, op, [normal(rng_for(name), shape, 2)], {"axis": axis},
                 lambda x: function(x, axis))
    # Far from zero: exp of the raw values overflows float32.
    for op, attrs, function in [
        ("log_sum_exp", {"axis": 1, "keepdim": False}, lambda x: torch.logsumexp(x, 1)),
        ("softmax", {"axis": 1}, lambda x: torch.softmax(x, 1)),
        ("log_softmax", {"axis": 1}, lambda x: torch.log_softmax(x, 1)),
    ]:
        name = f"{op}.far"
        # Multiples of 1/8 and no more than 4 apart: exact in float32, so that the rounding of the
        # input is not measured.
        eighths = np.round(rng_for(name).uniform(-2, 2, (3, 5)) * 8).astype(np.float32)
        x = np.float32(100) + eighths / 8
        case(name, op, [x], attrs, function)
        # So far that a sum with the maximum is rounded to 1e-3, and equal values.
        x = np.float32(-1e4) + (x - 100)
        x[1] = -1e4
        case(f"{name}.negative", op, [x], attrs, function)
    huge = np.array([[3e30, 3e30], [-3e30, 3e30]], dtype=np.float32)
    case("log_softmax.huge", "log_softmax", [huge], {"axis": 1}, lambda x: torch.log_softmax(x, 1))


def matmul():
    sizes = [(7, 9, 5), (1, 1, 1), (1, 19, 6), (17, 9, 9), (2, 5, 37), (35, 4, 3), (1, 130, 2)]
    flags = [(False, False), (True, False), (False, True), (True, True)]
    todo = [((), size, flag) for size in sizes[:1] for flag in flags]
    todo += [((), size, flags[i % 4]) for i, size in enumerate(sizes[1:])]
    todo += [((3,), (4, 5, 2), flag) for flag in flags]
    todo += [((2,), (3, 4, 17), flags[0]), ((1,), (2, 3, 4), flags[2])]
    for batch, (m, k, n), (ta, tb) in todo:
        name = f"matmul.{'b%d.' % batch if batch else ''}{m}x{k}x{n}.{'nt'[ta]}{'nt'[tb]}"
        rng = rng_for(name)
        a = normal(rng, batch + ((k, m) if ta else (m, k)))
        b = normal(rng, batch + ((n, k) if tb else (k, n)))
        flip = lambda x, yes: x.transpose(-1, -2) if yes else x
        case(name, "matmul", [a, b], {"trans_a": ta, "trans_b": tb},
             lambda a, b: flip(a, ta) @ flip(b, tb))


# -------------------------------------------------------------------------------------- convolution

nchw = lambda x: x.permute(0, 3, 1, 2).contiguous()
nhwc = lambda x: x.permute(0, 2, 3, 1)
oihw = lambda w: w.permute(3, 2, 0, 1).contiguous()


def pad_nchw(x, pad):
    (top, bottom), (left, right) = pad
    return F.pad(x, (left, right, top, bottom))


def conv2d(x, w, geom):
    return nhwc(F.conv2d(pad_nchw(nchw(x), geom["pad"]), oihw(w), stride=geom["stride"]))


def conv2d_input_grad(dy, w, geom):
    """The transposed convolution without padding, brought to the padded input's size, then
    cropped."""
    (top, bottom), (left, right) = geom["pad"]
    height, width = geom["input"]
    full = F.conv_transpose2d(nchw(dy), oihw(w), stride=geom["stride"])
    rows, columns = height + top + bottom - full.shape[2], width + left + right - full.shape[3]
    full = F.pad(full, (0, columns, 0, rows))
    return nhwc(full[:, :, top : top + height, left : left + width])


def conv2d_weight_grad(x, dy, geom):
    """A convolution of the padded input with the output gradient spread out by the stride, batch as
    channels."""
    kh, kw = geom["kernel"]
    xp = pad_nchw(nchw(x), geom["pad"]).transpose(0, 1)
    full = F.conv2d(xp, nchw(dy).transpose(0, 1), dilation=geom["stride"])
    return full[:, :, :kh, :kw].permute(2, 3, 0, 1)


def geometries():
    """(name, batch, cin, cout, geometry)"""

    def geom(size, kernel, stride=1, pad=0):
        pair = lambda v: [v, v] if isinstance(v, int) else list(v)
        pad = [[pad, pad], [pad, pad]] if isinstance(pad, int) else [pair(p) for p in pad]
        return {"input": pair(size), "kernel": pair(kernel), "stride": pair(stride), "pad": pad}

    return [
        # Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (arXiv
        # 1603.07285).
        ("guide.k3s1p0.4x4", 1, 1, 1, geom(4, 3)),
        ("guide.k4s1p2.5x5", 1, 1, 2, geom(5, 4, 1, 2)),
        ("guide.k3s1p1.5x5", 2, 1, 3, geom(5, 3, 1, 1)),
        ("guide.k3s1p2.5x5", 1, 2, 1, geom(5, 3, 1, 2)),
        ("guide.k3s2p0.5x5", 2, 2, 3, geom(5, 3, 2, 0)),
        ("guide.k3s2p1.5x5", 1, 3, 2, geom(5, 3, 2, 1)),
        ("guide.k3s2p1.6x6", 2, 1, 4, geom(6, 3, 2, 1)),
        # DCGAN: 4x4 and 5x5, stride 2, even and odd sizes; the image end has 1, 3 or 4 channels.
        ("dcgan.k4s2p1.8x8", 1, 1, 5, geom(8, 4, 2, 1)),
        ("dcgan.k4s2p1.7x7", 2, 1, 2, geom(7, 4, 2, 1)),
        ("dcgan.k4s2p1.6x4", 1, 4, 3, geom((6, 4), 4, 2, 1)),
        ("dcgan.k5s2p2.8x8", 1, 1, 3, geom(8, 5, 2, 2)),
        ("dcgan.k5s2p2.7x7", 1, 2, 1, geom(7, 5, 2, 2)),
        # TensorFlow's SAME: the odd pixel of padding goes after.
        ("same.k5s2.8x8", 1, 1, 3, geom(8, 5, 2, ((1, 2), (1, 2)))),
        ("same.k5s2.6x7", 1, 3, 1, geom((6, 7), 5, 2, ((1, 2), (2, 2)))),
        ("same.k3s2.6x6", 1, 4, 1, geom(6, 3, 2, ((0, 1), (0, 1)))),
        ("sides.k3s1", 1, 3, 2, geom((3, 4), 3, 1, ((0, 1), (2, 3)))),
        ("sides.k4s2", 2, 1, 3, geom((7, 6), 4, 2, ((2, 1), (0, 3)))),
        ("sides.k2s3", 1, 3, 4, geom((6, 5), 2, 3, ((1, 0), (0, 2)))),
        # Every kernel size, and kernels that are not square.
        ("k1s1", 2, 5, 4, geom((3, 2), 1)),
        ("k2s1", 1, 4, 3, geom(4, 2)),
        ("k2s2", 1, 3, 1, geom((6, 5), 2, 2)),
        ("k6s2p2", 1, 1, 2, geom(8, 6, 2, 2)),
        ("k6s3p1", 1, 2, 1, geom(7, 6, 3, 1)),
        ("k7s1p3", 1, 2, 1, geom((5, 4), 7, 1, 3)),
        ("k7s2p3", 1, 1, 2, geom((7, 8), 7, 2, 3)),
        ("k3s3p1", 1, 3, 2, geom((7, 6), 3, 3, 1)),
        ("k3x5s1x2", 1, 2, 2, geom((3, 7), (3, 5), (1, 2), (1, 2))),
        ("k1x4s3x1", 2, 2, 3, geom((4, 6), (1, 4), (3, 1))),
        ("k5x2s2x3", 1, 1, 4, geom((7, 8), (5, 2), (2, 3), ((2, 2), (1, 0)))),
        ("k4x1s2x1", 1, 4, 5, geom((6, 3), (4, 1), (2, 1), ((1, 1), (0, 0)))),
        # Pixels that no window covers: their gradient is zero and must be written.
        ("gaps.k1s2", 1, 3, 4, geom(5, 1, 2)),
        ("gaps.k1s3", 2, 1, 5, geom((7, 5), 1, 3)),
        ("gaps.k2s3", 1, 2, 3, geom((9, 7), 2, 3)),
        ("gaps.k3s1x4", 1, 2, 3, geom((3, 10), 3, (1, 4))),
        # One pixel, one row, a row longer than a register, the 1x1 -> 4x4 stem.
        ("pixel.k3p1", 3, 4, 2, geom(1, 3, 1, 1)),
        ("row.k3p1", 1, 3, 3, geom((1, 6), 3, 1, 1)),
        ("row.k3p1.21", 1, 1, 2, geom((2, 21), 3, 1, 1)),
        ("stem.k4", 2, 3, 5, geom(4, 4)),
        # Channel counts below and across the SIMD tiles.
        ("c17o3.k2", 1, 17, 3, geom(3, 2)),
        ("c3o17.k2s2", 1, 3, 17, geom(4, 2, 2)),
        ("c17o17.k1", 1, 17, 17, geom((1, 2), 1)),
        ("c65o2.k1x2", 1, 65, 2, geom((1, 3), (1, 2))),
        ("c2o70.k2x1", 1, 2, 70, geom((3, 1), (2, 1))),
        ("c65o70.k1", 1, 65, 70, geom((1, 2), 1)),
    ]


def convolutions():
    for name, batch, cin, cout, geom in geometries():
        rng = rng_for("conv." + name)
        x = normal(rng, (batch, *geom["input"], cin))
        w = normal(rng, (*geom["kernel"], cin, cout))
        shape = tuple(conv2d(double(x), double(w), geom).shape)
        dy = normal(rng, shape)
        check_triple(x, w, dy, geom)
        attrs = {"geom": geom}
        case(f"conv2d.{name}", "conv2d", [x, w], attrs, lambda x, w: conv2d(x, w, geom))
        if name.startswith("c65o70"):
            # Its gradients are the other two ops at this width; one case keeps the file small.
            continue
        case(f"conv2d_input_grad.{name}", "conv2d_input_grad", [dy, w], attrs,
             lambda dy, w: conv2d_input_grad(dy, w, geom))
        case(f"conv2d_weight_grad.{name}", "conv2d_weight_grad", [x, dy], attrs,
             lambda x, dy: conv2d_weight_grad(x, dy, geom))


def check_triple(x, w, dy, geom):
    """Checks the closed forms above against the autograd of F.conv2d."""
    x, w, dy = double(x).requires_grad_(), double(w).requires_grad_(), double(dy)
    dx, dw = torch.autograd.grad(conv2d(x, w, geom), [x, w], dy)
    torch.testing.assert_close(conv2d_input_grad(dy, w, geom), dx)
    torch.testing.assert_close(conv2d_weight_grad(x, dy, geom), dw)


def conv_transpose2d(x, w, stride, pad, output_padding):
    (top, bottom), (left, right) = pad
    kh, kw = w.shape[:2]
    height = (x.shape[1] - 1) * stride[0] + kh - top - bottom + output_padding[0]
    width = (x.shape[2] - 1) * stride[1] + kw - left - right + output_padding[1]
    geom = {"input": [height, width], "kernel": [kh, kw], "stride": stride, "pad": pad}
    if top == bottom and left == right:
        return nhwc(F.conv_transpose2d(nchw(x), oihw(w), stride=stride, padding=(top, left),
                                       output_padding=output_padding))
    return conv2d_input_grad(x, w, geom)


def transposed_convolutions():
    same = lambda p: [[p, p], [p, p]]
    # (name, batch, height, width, channels of x, channels of the output, kernel, stride, pad,
    # output_padding)
    table = [
        ("guide.k3s1p0.2x2", 1, 2, 2, 1, 1, [3, 3], [1, 1], same(0), [0, 0]),
        ("guide.k3s2p1.3x3", 2, 3, 3, 3, 2, [3, 3], [2, 2], same(1), [0, 0]),
        ("guide.k3s2p1op1.3x3", 1, 3, 3, 2, 3, [3, 3], [2, 2], same(1), [1, 1]),
        ("guide.k4s1p2.6x6", 1, 6, 6, 2, 1, [4, 4], [1, 1], same(2), [0, 0]),
        ("stem.k4", 2, 1, 1, 5, 3, [4, 4], [1, 1], same(0), [0, 0]),
        ("dcgan.k4s2p1.4x4", 1, 4, 4, 2, 3, [4, 4], [2, 2], same(1), [0, 0]),
        ("dcgan.k4s2p1.3x5.o1", 1, 3, 5, 7, 1, [4, 4], [2, 2], same(1), [0, 0]),
        ("dcgan.k5s2p2op1.4x4", 1, 4, 4, 3, 1, [5, 5], [2, 2], same(2), [1, 1]),
        ("dcgan.k5s2p2.4x3", 1, 4, 3, 1, 3, [5, 5], [2, 2], same(2), [0, 0]),
        ("same.k5s2", 1, 4, 3, 3, 1, [5, 5], [2, 2], [[1, 2], [1, 2]], [0, 0]),
        ("sides.k4s2", 2, 3, 3, 2, 1, [4, 4], [2, 2], [[2, 1], [0, 3]], [1, 0]),
        ("k3s3op0x2", 1, 3, 2, 3, 2, [3, 3], [3, 3], same(0), [0, 2]),
        ("k3x5s1x2op0x1", 1, 3, 4, 2, 1, [3, 5], [1, 2], [[1, 1], [2, 2]], [0, 1]),
        ("gaps.k2s3op2", 1, 2, 3, 3, 2, [2, 2], [3, 3], same(0), [2, 2]),
        ("k1s2op1", 1, 2, 2, 4, 17, [1, 1], [2, 2], same(0), [1, 1]),
        ("k6s2p2", 1, 3, 3, 1, 2, [6, 6], [2, 2], same(2), [0, 0]),
        ("k3s1p1", 2, 4, 3, 3, 2, [3, 3], [1, 1], same(1), [0, 0]),
    ]
    for name, batch, height, width, channels, out, kernel, stride, pad, output_padding in table:
        name = "conv_transpose2d." + name
        rng = rng_for(name)
        x = normal(rng, (batch, height, width, channels))
        w = normal(rng, (*kernel, out, channels))
        attrs = {"stride": stride, "pad": pad, "output_padding": output_padding}
        case(name, "conv_transpose2d", [x, w], attrs,
             lambda x, w: conv_transpose2d(x, w, stride, pad, output_padding))
    sizes = {c["case"]: tensors[c["case"] + "/out"].shape
             for c in cases if c["op"] == "conv_transpose2d"}
    assert sizes["conv_transpose2d.guide.k3s1p0.2x2"] == (1, 4, 4, 1)
    assert sizes["conv_transpose2d.guide.k3s2p1.3x3"] == (2, 5, 5, 2)


# ------------------------------------------------------------------------------ pooling, upsampling


def pooling():
    table = [
        ((2, 4, 6, 1), [2, 2], [2, 2]),
        ((1, 7, 5, 3), [2, 2], [2, 2]),
        ((1, 7, 7, 2), [3, 3], [2, 2]),
        ((1, 4, 3, 17), [3, 2], [1, 3]),
        ((1, 4, 4, 1), [4, 4], [1, 1]),
        ((1, 7, 8, 1), [2, 1], [3, 3]),
    ]
    for op, function in [("max_pool2d", F.max_pool2d), ("avg_pool2d", F.avg_pool2d)]:
        for shape, kernel, stride in table:
            window = f"k{kernel[0]}x{kernel[1]}s{stride[0]}x{stride[1]}"
            name = f"{op}.{'x'.join(map(str, shape))}.{window}"
            x = spaced(rng_for(name), shape)[0]
            attrs = {"kernel": kernel, "stride": stride}
            case(name, op, [x], attrs,
                 lambda x: nhwc(function(nchw(x), tuple(kernel), tuple(stride))))
    for shape, scale in [((2, 3, 2, 3), [2, 2]), ((1, 2, 3, 5), [1, 3]), ((1, 1, 1, 4), [4, 4]),
                         ((1, 3, 2, 1), [3, 2])]:
        name = f"upsample_nearest2d.{'x'.join(map(str, shape))}.{scale[0]}x{scale[1]}"
        upsample = lambda x: nhwc(F.interpolate(nchw(x), scale_factor=tuple(map(float, scale)),
                                                mode="nearest"))
        case(name, "upsample_nearest2d", [normal(rng_for(name), shape)], {"scale": scale}, upsample)


# ---------------------------------------------------------------------------- normalization, losses

ACTIVATIONS = [
    ({"activation": "none"}, lambda x: x),
    ({"activation": "relu"}, torch.relu),
    ({"activation": "leaky_relu", "slope": 0.2}, lambda x: F.leaky_relu(x, 0.2)),
    ({"activation": "tanh"}, torch.tanh),
    ({"activation": "sigmoid"}, torch.sigmoid),
]


def batch_norm(x, gamma, beta, eps):
    """F.batch_norm with batch statistics, over the last axis."""
    moved = x.movedim(-1, 1)
    return F.batch_norm(moved, None, None, gamma, beta, training=True, eps=eps).movedim(1, -1)


def redraw(name, draw, function):
    """Draws until no pre-activation is near the kink at zero."""
    rng = rng_for(name)
    for _ in range(10000):
        inputs = draw(rng)
        if function(*map(double, inputs)).abs().min() > 2e-3:
            return inputs
    raise SystemExit(f"{name}: no draw stays away from the kink")


def norms():
    four_d, two_d = (2, 3, 2, 3), (9, 3)
    todo = []
    for activation in ACTIVATIONS:
        todo += [(four_d, 1e-5, 1.0, 0.0, activation), (two_d, 1e-8, 1.0, 0.0, activation)]
    none, relu, leaky, tanh, _ = ACTIVATIONS
    todo += [
        ((8, 1), 1e-5, 1.0, 0.0, leaky),
        ((2, 3, 4, 1), 1e-5, 1.0, 0.0, relu),
        ((6, 17), 1e-5, 1.0, 0.0, leaky),
        ((1, 2, 3, 17), 1e-8, 1.0, 0.0, leaky),
        ((3, 64), 1e-5, 1.0, 0.0, relu),
        ((1, 2, 2, 64), 1e-5, 1.0, 0.0, leaky),
        # eps as large as the variance, and a mean five times the deviation (E[x^2] - E[x]^2 would
        # show).
        ((3, 2, 2, 4), 1e-5, 3e-3, 0.0, leaky),
        ((3, 2, 2, 4), 1e-5, 1.0, 5.0, tanh),
        ((2, 35, 1), 1e-5, 1.0, 0.0, none),
        # |mean| >> std: a gradient slope * x + constant cancels, and a mean rounded to float32 is
        # off by 1e-3 of the deviation.
        ((3, 2, 2, 4), 1e-5, 1.0, 1e4, leaky),
        ((9, 3), 1e-8, 1.0, -3e4, none),
        ((3, 5, 16), 1e-5, 0.1, 1e3, tanh),
    ]
    for shape, eps, std, mean, (attrs, activate) in todo:
        spread = (f".std{std}" if std != 1 else "") + (f".mean{mean}" if mean else "")
        name = f"batch_norm.{'x'.join(map(str, shape))}.eps{eps}.{attrs['activation']}{spread}"
        draw = lambda rng: [normal(rng, shape, std, mean), normal(rng, shape[-1:], 0.4, 1.0),
                            normal(rng, shape[-1:], 0.5)]
        plain = lambda x, gamma, beta: batch_norm(x, gamma, beta, eps)
        inputs = redraw(name, draw, plain)
        case(name, "batch_norm", inputs, {"eps": eps, **attrs}, lambda *xs: activate(plain(*xs)))
    for shape, (attrs, activate) in zip([(4, 3), (2, 3, 2, 5), (2, 2, 3, 4), (3, 17), (1, 1)],
                                        ACTIVATIONS):
        name = f"bias_activation.{'x'.join(map(str, shape))}.{attrs['activation']}"
        inputs = redraw(name, lambda rng: [normal(rng, shape), normal(rng, shape[-1:])], torch.add)
        case(name, "bias_activation", inputs, attrs, lambda x, bias: activate(x + bias))


def losses():
    def bce(logits, targets):
        return (softplus(logits) - logits * targets).mean()

    def check(logits, targets):
        torch.testing.assert_close(bce(logits, targets),
                                   F.binary_cross_entropy_with_logits(logits, targets))
        return bce(logits, targets)

    far = np.array([-90, -30, -3, 0.0, 3, 30, 90], dtype=np.float32)
    table = [
        ("mixed",
         lambda rng: [normal(rng, (7, 3), 2),
                      np.asarray(rng.uniform(0, 1, (7, 3)), dtype=np.float32)]),
        ("ones", lambda rng: [normal(rng, (16,), 2), np.ones(16, dtype=np.float32)]),
        ("zeros", lambda rng: [normal(rng, (16, 1), 2), np.zeros((16, 1), dtype=np.float32)]),
        ("smoothed", lambda rng: [normal(rng, (5,), 2), np.full(5, 0.9, dtype=np.float32)]),
        ("far", lambda rng: [far, np.array([1, 0, 1, 0.5, 0, 1, 0], dtype=np.float32)]),
        ("one", lambda rng: [normal(rng, (1, 1)), np.ones((1, 1), dtype=np.float32)]),
    ]
    for label, draw in table:
        name = f"bce_with_logits.{label}"
        case(name, "bce_with_logits", draw(rng_for(name)), {}, check, constant=(1,))


# ----------------------------------------------------------------------------------------- movement


def shift(x, moves):
    """Flips each image if the third of its three moves is set, then cuts it from a canvas of zeros
    around it."""
    h, w = x.shape[1:3]
    shifted = []
    for image, (down, right, mirror) in zip(x, np.reshape(moves, (-1, 3)).tolist()):
        image = image.flip(1) if mirror else image
        canvas = F.pad(image, (0, 0, w, w, h, h))
        shifted.append(canvas[h - down : 2 * h - down, w - right : 2 * w - right])
    return torch.stack(shifted)


def movement():
    def one(op, label, shape, attrs, function):
        name = f"{op}.{label}"
        case(name, op, [normal(rng_for(name), shape)], attrs, function)

    for label, shape, new in [("flat", (2, 3, 4), [24]), ("up", (12,), [2, 1, 6]),
                              ("scalar", (1, 1), []), ("same", (3, 2), [3, 2])]:
        one("reshape", label, shape, {"shape": new}, lambda x: x.reshape(new))
    for shape, axes in [((3, 5), [1, 0]), ((2, 3, 4, 3), [0, 3, 1, 2]),
                        ((2, 3, 4, 3), [0, 2, 3, 1]), ((2, 3, 2, 1, 3), [4, 2, 0, 3, 1]),
                        ((17, 5), [1, 0]), ((2, 3, 4), [0, 1, 2])]:
        one("permute", f"{'x'.join(map(str, shape))}.{''.join(map(str, axes))}", shape,
            {"axes": axes}, lambda x: x.permute(axes))
    for shape, axis, start, length in [((7,), 0, 2, 3), ((4, 6), 1, 0, 2), ((2, 3, 4), 1, 2, 1),
                                       ((2, 3, 5, 4), 3, 1, 3), ((3, 2), 0, 0, 3)]:
        attrs = {"axis": axis, "start": start, "len": length}
        one("narrow", f"{'x'.join(map(str, shape))}.{axis}.{start}.{length}", shape, attrs,
            lambda x: x.narrow(axis, start, length))
    for label, shapes, axis in [
        ("rows", [(2, 3), (4, 3)], 0),
        ("columns", [(2, 3), (2, 1), (2, 5)], 1),
        ("channels", [(1, 2, 3, 3), (1, 2, 3, 2)], 3),
        ("middle", [(2, 1, 3), (2, 2, 3)], 1),
        ("single", [(3, 2)], 0),
    ]:
        name = f"concat.{label}"
        rng = rng_for(name)
        case(name, "concat", [normal(rng, shape) for shape in shapes], {"axis": axis},
             lambda *xs: torch.cat(xs, axis))
    for shape, pad in [((1, 2, 3, 3), [[1, 1], [1, 1]]), ((2, 3, 2, 3), [[0, 1], [2, 3]]),
                       ((1, 2, 2, 1), [[0, 0], [0, 0]]), ((1, 1, 1, 5), [[2, 0], [0, 1]])]:
        label = f"{'x'.join(map(str, shape))}.{''.join(str(p) for side in pad for p in side)}"
        one("pad2d", label, shape, {"pad": pad}, lambda x: nhwc(pad_nchw(nchw(x), pad)))
    for label, shape, rows in [("repeats", (5, 3), [4, 0, 0, 2, 4, 4]), ("one", (4, 2, 3), [3]),
                               ("reverse", (4,), [3, 2, 1, 0]), ("images", (3, 2, 2, 4), [1, 1])]:
        one("index_select", label, shape, {"rows": rows},
            lambda x: x.index_select(0, torch.tensor(rows)))
    for label, shape, moves in [
        ("still", (1, 2, 3, 2), [0, 0, 0]),
        ("both", (3, 4, 5, 2), [1, -2, 0, 0, 1, 1, -3, 4, 1]),
        ("channels4", (2, 3, 3, 4), [-1, 1, 1, 2, 0, 0]),
        ("gone", (2, 2, 3, 1), [2, 0, 0, 0, -3, 1]),
    ]:
        one("shift2d", label, shape, {"moves": moves}, lambda x: shift(x, moves))
    for shape in [(3, 2, 4), (5, 3, 1), (1, 2, 3), (3, 4, 17)]:
        name = f"pairwise_l1.{'x'.join(map(str, shape))}"
        function = lambda m: (m[:, None] - m[None, :]).abs().sum(-1)
        case(name, "pairwise_l1", spaced(rng_for(name), shape), {}, function)


if __name__ == "__main__":
    for family in [unary, binary, reductions, matmul, convolutions, transposed_convolutions,
                   pooling, norms, losses, movement]:
        family()
    write_tensors(OUT + ".safetensors", tensors)
    write_json(OUT + ".json", cases)
    print(f"{len(cases)} cases of {len({c['op'] for c in cases})} ops")
