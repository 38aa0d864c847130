"""Golden adversarial losses, penalties, class losses, optimizers and augmentation by PyTorch in
float64, from float32 inputs.

Writes crates/nn/tests/golden/losses.safetensors and losses.json ({"case", "kind", "attrs"}). Inputs
are F32, expected values F64. The loss WHAT of a case has its value at CASE/loss/WHAT and its
gradient with respect to the input X at CASE/loss/WHAT/X.

  objective: real [7], fake [6], target_real, target_fake in [0, 1]; losses real, fake, generator;
    for losses with targets also real_target, fake_target, swapped_generator; relativistic_real,
    relativistic_fake, relativistic_generator, and with targets relativistic_real_target,
    relativistic_fake_target.
  penalty: real, fake [3, 6, 6, 2], mix [3, 1, 1, 1], the critic's w1 [4, 4, 2, 4], b1, w2 [3, 3, 4,
    1]; losses gradient_penalty, r1 with gradients by w1, b1, w2 (of gradients: second order).
    attrs.critic: "leaky" (convolution, bias, leaky ReLU 0.2, convolution) or "norm" (convolution,
    bias, layer normalization without parameters, tanh, convolution).
  feature_matching: real/0, real/1, fake/0, fake/1; losses l1, l2 with gradients by fake/0, fake/1.
  semi_supervised: labeled_logits [4, 3], one_hot, real_logits [5, 3], fake_logits [6, 3], gout
    [5]; losses labeled and unlabeled; real_logit is <gout, LSE(real_logits)>.
  auxiliary: logits [4, 3], targets; loss value. attrs.targets: "one-hot" or "attributes".
  optimizer: param/NAME, grad/STEP/NAME -> after/STEP/NAME; BUFFER/NAME, the optimizer state after
    the last step. attrs: rule, lr, weight_decay, steps and the rule's; rates where lr and momentum
    change from step to step.
  clip: grad/NAME -> after/NAME, norm.
  augment: x [N, H, W, C], gout -> out, dx. attrs.choices: one per image, as `nn::augment::Choice`.
  history: value/STEP/NAME, added to the running mean in order -> grad/NAME, weight times the
    gradient of the term at the last value against the mean of those before it.
"""

import sys

sys.dont_write_bytecode = True

import numpy as np
import torch
import torch.nn.functional as F

from fixture import double, normal, rng_for, write_json, write_tensors

OUT = "crates/nn/tests/golden/losses"
tensors = {}
cases = []


def record(case, **values):
    for key, value in values.items():
        key = f"{case}/{key.replace('__', '/')}"
        assert key not in tensors, key
        # + 0.0 turns a negative zero into a plain one.
        tensors[key] = value.numpy(force=True) + 0.0 if isinstance(value, torch.Tensor) else value


def given(case, **arrays):
    """Records the inputs and returns them as tracked float64 tensors."""
    record(case, **arrays)
    return {key: double(array).requires_grad_() for key, array in arrays.items()}


def loss(case, what, value, by):
    names = list(by)
    gradients = torch.autograd.grad(value, [by[n] for n in names], retain_graph=True,
                                    allow_unused=True, materialize_grads=True)
    record(case, **{f"loss__{what}": value},
           **{f"loss__{what}__{n}": g for n, g in zip(names, gradients)})


# ------------------------------------------------------------------------------- adversarial losses


def cross_entropy(x, t):
    return -(t * F.logsigmoid(x) + (1 - t) * F.logsigmoid(-x)).mean()


def squares(x, t):
    return 0.5 * ((x - t) ** 2).mean()


# (D on real, D on fake, G) as the papers write them.
OBJECTIVES = {
    "minimax": (lambda x: -F.logsigmoid(x).mean(), lambda x: -F.logsigmoid(-x).mean(),
                lambda x: F.logsigmoid(-x).mean()),
    "non-saturating": (lambda x: -F.logsigmoid(x).mean(), lambda x: -F.logsigmoid(-x).mean(),
                       lambda x: -F.logsigmoid(x).mean()),
    "least-squares": (lambda x: squares(x, 1), lambda x: squares(x, 0), lambda x: squares(x, 1)),
    "hinge": (lambda x: F.relu(1 - x).mean(), lambda x: F.relu(1 + x).mean(), lambda x: -x.mean()),
    "wasserstein": (lambda x: -x.mean(), lambda x: x.mean(), lambda x: -x.mean()),
}


def objectives():
    for name, (d_real, d_fake, g) in OBJECTIVES.items():
        case = f"objective.{name}"
        rng = rng_for(case)
        logits = {"real": normal(rng, (7,), 2), "fake": normal(rng, (6,), 2)}
        # Saturated, like the logits of a dominant discriminator.
        logits["real"][2], logits["fake"][3] = 30, -25
        targets = {f"target_{key}": rng.uniform(0, 1, value.shape).astype(np.float32)
                   for key, value in logits.items()}
        by = given(case, **logits)
        record(case, **targets)
        real, fake = by["real"], by["fake"]
        t_real, t_fake = double(targets["target_real"]), double(targets["target_fake"])
        loss(case, "real", d_real(real), by)
        loss(case, "fake", d_fake(fake), by)
        loss(case, "generator", g(fake), by)
        towards = {"minimax": cross_entropy, "non-saturating": cross_entropy,
                   "least-squares": squares}.get(name)
        if towards:
            loss(case, "real_target", towards(real, t_real), by)
            loss(case, "fake_target", towards(fake, t_fake), by)
            swapped = (F.logsigmoid(fake).mean() if name == "minimax"
                       else towards(fake, torch.zeros(())))
            loss(case, "swapped_generator", swapped, by)
        # Jolicoeur-Martineau 2019: least squares has the target -1 for the other kind.
        low = -1 if name == "least-squares" else 0
        r_real, r_fake = real - fake.mean(), fake - real.mean()
        f1, f2 = d_real, (lambda x: squares(x, -1)) if name == "least-squares" else d_fake
        loss(case, "relativistic_real", f1(r_real), by)
        loss(case, "relativistic_fake", f2(r_fake), by)
        generator = -(f1(r_real) + f2(r_fake)) if name == "minimax" else f2(r_real) + f1(r_fake)
        loss(case, "relativistic_generator", generator, by)
        if towards:
            scale = lambda t: low + (1 - low) * t
            loss(case, "relativistic_real_target", towards(r_real, scale(t_real)), by)
            loss(case, "relativistic_fake_target", towards(r_fake, scale(t_fake)), by)
        cases.append({"case": case, "kind": "objective",
                      "attrs": {"objective": name, "targets": bool(towards)}})


# ---------------------------------------------------------------------------------------- penalties


def critic(kind, w):
    def run(x):
        h = F.conv2d(x.permute(0, 3, 1, 2), w["w1"].permute(3, 2, 0, 1), w["b1"], stride=2,
                     padding=1)
        h = (F.leaky_relu(h, 0.2) if kind == "leaky"
             else torch.tanh(F.layer_norm(h, h.shape[1:], eps=1e-5)))
        return F.conv2d(h, w["w2"].permute(3, 2, 0, 1)).reshape(-1)

    return run


def squared_norms(run, x):
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(run(x).sum(), x, create_graph=True)
    return gradient.reshape(len(x), -1).square().sum(1)


def penalties():
    for kind in ["leaky", "norm"]:
        case = f"penalty.{kind}"
        rng = rng_for(case)
        images = {"real": normal(rng, (3, 6, 6, 2)), "fake": normal(rng, (3, 6, 6, 2)),
                  "mix": rng.uniform(0, 1, (3, 1, 1, 1)).astype(np.float32)}
        record(case, **images)
        by = given(case, w1=normal(rng, (4, 4, 2, 4), 0.3), b1=normal(rng, (4,), 0.3),
                   w2=normal(rng, (3, 3, 4, 1), 0.3))
        real, fake, mix = (double(images[key]) for key in ["real", "fake", "mix"])
        norms = squared_norms(critic(kind, by), mix * real + (1 - mix) * fake).sqrt()
        loss(case, "gradient_penalty", ((norms - 1) ** 2).mean(), by)
        loss(case, "r1", squared_norms(critic(kind, by), real).mean(), by)
        cases.append({"case": case, "kind": "penalty", "attrs": {"critic": kind}})


# ------------------------------------------------------------------------------------- other losses


def features():
    case = "feature_matching"
    rng = rng_for(case)
    shapes = [(3, 3, 2), (4,)]
    real = {f"real__{i}": normal(rng, (5, *shape)) for i, shape in enumerate(shapes)}
    record(case, **real)
    by = given(case, **{f"fake__{i}": normal(rng, (4, *shape)) for i, shape in enumerate(shapes)})
    differences = [by[f"fake__{i}"].mean(0) - double(real[f"real__{i}"]).mean(0) for i in range(2)]
    loss(case, "l1", sum(d.abs().mean() for d in differences), by)
    loss(case, "l2", sum(d.square().sum() for d in differences), by)
    cases.append({"case": case, "kind": "feature_matching", "attrs": {}})


def one_hot(rng, count, classes):
    return np.eye(classes, dtype=np.float32)[rng.randint(classes, size=count)]


def classes():
    # Logits far from zero: an LSE of 1e4 is rounded to 1e-3.
    for suffix, mean in [("", 0.0), (".far", 1e4), (".far_negative", -1e4)]:
        semi_supervised(f"semi_supervised{suffix}", mean)
        for kind in ["one-hot", "attributes"]:
            auxiliary(f"auxiliary.{kind}{suffix}", kind, mean)


def semi_supervised(case, mean):
    rng = rng_for(case)
    counts = {"labeled": 4, "real": 5, "fake": 6}
    by = given(case, **{f"{of}_logits": normal(rng, (n, 3), 3, mean) for of, n in counts.items()})
    labels, gout = one_hot(rng, 4, 3), normal(rng, (5,))
    record(case, one_hot=labels, gout=gout)
    lse = lambda x: torch.logsumexp(x, 1)
    # As in the authors' code.
    chosen = by["labeled_logits"][torch.arange(4), torch.from_numpy(labels.argmax(1))]
    loss(case, "labeled", -chosen.mean() + lse(by["labeled_logits"]).mean(), by)
    l_real, l_fake = lse(by["real_logits"]), lse(by["fake_logits"])
    loss(case, "unlabeled",
         -0.5 * l_real.mean() + 0.5 * F.softplus(l_real).mean() + 0.5 * F.softplus(l_fake).mean(),
         by)
    loss(case, "real_logit", (l_real * double(gout)).sum(), by)
    cases.append({"case": case, "kind": "semi_supervised", "attrs": {}})


def auxiliary(case, kind, mean):
    rng = rng_for(case)
    by = given(case, logits=normal(rng, (4, 3), 3, mean))
    targets = (one_hot(rng, 4, 3) if kind == "one-hot"
               else rng.randint(2, size=(4, 3)).astype(np.float32))
    record(case, targets=targets)
    t = double(targets)
    value = (F.cross_entropy(by["logits"], t) if kind == "one-hot"
             else F.binary_cross_entropy_with_logits(by["logits"], t))
    loss(case, "value", value, by)
    cases.append({"case": case, "kind": "auxiliary", "attrs": {"targets": kind}})


# --------------------------------------------------------------------------------------- optimizers

SHAPES = {"weight": (7, 5), "bias": (3,)}


def optimizers():
    optim = torch.optim
    adam = {"rule": "adam", "beta1": 0.5, "beta2": 0.99, "eps": 1e-8}
    rms = {"rule": "rms-prop", "alpha": 0.9, "eps": 1e-6}
    table = {
        "adamw": (optim.AdamW, {**adam, "decoupled": True}, 1e-2, 0.1, {}),
        "adam_decay": (optim.Adam, {**adam, "decoupled": False}, 1e-2, 0.1, {}),
        "sgd": (optim.SGD, {"rule": "sgd", "momentum": 0.0, "nesterov": False}, 0.1, 0.0, {}),
        "sgd_decay": (optim.SGD, {"rule": "sgd", "momentum": 0.0, "nesterov": False}, 0.1, 0.05,
                      {}),
        "momentum": (optim.SGD, {"rule": "sgd", "momentum": 0.9, "nesterov": False}, 0.05, 0.05,
                     {"momentum": "momentum_buffer"}),
        "momentum_rises": (optim.SGD, {"rule": "sgd", "momentum": 0.5, "nesterov": False}, 0.1, 0.0,
                           {"momentum": "momentum_buffer"}),
        "nesterov": (optim.SGD, {"rule": "sgd", "momentum": 0.9, "nesterov": True}, 0.05, 0.05,
                     {"momentum": "momentum_buffer"}),
        "rms_prop": (optim.RMSprop, {**rms, "momentum": 0.0}, 1e-2, 0.05, {"v": "square_avg"}),
        "rms_prop_momentum": (optim.RMSprop, {**rms, "momentum": 0.5}, 1e-2, 0.05,
                              {"v": "square_avg", "momentum": "momentum_buffer"}),
    }
    steps = 6
    for name, (optimizer, rule, lr, weight_decay, memory) in table.items():
        case = f"optimizer.{name}"
        rng = rng_for(case)
        params = {key: normal(rng, shape) for key, shape in SHAPES.items()}
        tracked = {key: double(value).requires_grad_() for key, value in params.items()}
        names = ("momentum", "nesterov", "alpha", "eps")
        options = {key: value for key, value in rule.items() if key in names}
        if rule["rule"] == "adam":
            options["betas"] = (rule["beta1"], rule["beta2"])
            memory = {"m": "exp_avg", "v": "exp_avg_sq"}
        run = optimizer(tracked.values(), lr=lr, weight_decay=weight_decay, foreach=False,
                        **options)
        record(case, **{f"param__{key}": value for key, value in params.items()})
        # As in Goodfellow et al. 2014 (goodfeli/adversarial), in fewer steps.
        rates = ([[lr / 1.2**step, 0.5 + 0.2 * step / steps] for step in range(steps)]
                 if name == "momentum_rises" else [])
        for step in range(steps):
            for group, (rate, momentum) in zip(run.param_groups, rates[step : step + 1]):
                group["lr"], group["momentum"] = rate, momentum
            for key, parameter in tracked.items():
                grad = normal(rng, SHAPES[key], 0.5, 0.1)
                parameter.grad = double(grad)
                record(case, **{f"grad__{step}__{key}": grad})
            run.step()
            record(case, **{f"after__{step}__{key}": parameter.detach().clone()
                            for key, parameter in tracked.items()})
        for key, parameter in tracked.items():
            record(case, **{f"{ours}__{key}": run.state[parameter][theirs]
                            for ours, theirs in memory.items()})
        attrs = {**rule, "lr": lr, "weight_decay": weight_decay, "steps": steps,
                 "memory": list(memory)}
        attrs |= {"rates": rates} if rates else {}
        cases.append({"case": case, "kind": "optimizer", "attrs": attrs})


def clipping():
    for name, max_norm in [("active", 0.5), ("idle", 100.0)]:
        case = f"clip.{name}"
        rng = rng_for(case)
        grads = {key: normal(rng, shape) for key, shape in SHAPES.items()}
        tracked = {key: torch.zeros(shape, dtype=torch.float64).requires_grad_()
                   for key, shape in SHAPES.items()}
        for key, parameter in tracked.items():
            parameter.grad = double(grads[key])
        norm = torch.nn.utils.clip_grad_norm_(tracked.values(), max_norm, foreach=False)
        record(case, norm=norm, **{f"grad__{key}": value for key, value in grads.items()})
        record(case, **{f"after__{key}": parameter.grad for key, parameter in tracked.items()})
        cases.append({"case": case, "kind": "clip", "attrs": {"max_norm": max_norm}})


def history():
    case = "history"
    rng = rng_for(case)
    past, weight = 4, 0.25
    values = {key: [normal(rng, shape) for _ in range(past + 1)] for key, shape in SHAPES.items()}
    for key, series in values.items():
        record(case, **{f"value__{step}__{key}": value for step, value in enumerate(series)})
        last = double(series[-1]).requires_grad_()
        mean = torch.stack([double(value) for value in series[:-1]]).mean(0)
        (weight * (last - mean).square().sum()).backward()
        record(case, **{f"grad__{key}": last.grad})
    cases.append({"case": case, "kind": "history", "attrs": {"past": past, "weight": weight}})


# ------------------------------------------------------------------------------------- augmentation


def diff_augment(x, choices):
    """The authors' functions (DiffAugment_pytorch.py, NCHW) with given random values."""
    column = lambda key: torch.tensor([c[key] for c in choices],
                                      dtype=torch.float64).reshape(-1, 1, 1, 1)
    x = x + column("brightness")
    mean = x.mean(dim=1, keepdim=True)
    x = (x - mean) * column("saturation") + mean
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    x = (x - mean) * column("contrast") + mean
    # Flips are not in their code.
    x = torch.stack([image.flip(2) if c["flip"] else image for image, c in zip(x, choices)])
    n, _, h, w = x.shape
    batch, rows, columns = torch.meshgrid(torch.arange(n), torch.arange(h), torch.arange(w),
                                          indexing="ij")
    shift = torch.tensor([c["shift"] for c in choices])
    # Their code adds the translation to the source position, so that (1, 2) moves up and left.
    rows = torch.clamp(rows - shift[:, 0].reshape(-1, 1, 1) + 1, 0, h + 1)
    columns = torch.clamp(columns - shift[:, 1].reshape(-1, 1, 1) + 1, 0, w + 1)
    x = F.pad(x, [1, 1, 1, 1]).permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)
    mask = torch.ones(n, h, w, dtype=torch.float64)
    for image, c in enumerate(choices):
        (top, height), (left, width) = c["cutout"]
        for y in range(top, top + height):
            for z in range(left, left + width):
                mask[image, min(max(y, 0), h - 1), min(max(z, 0), w - 1)] = 0
    return x * mask.unsqueeze(1)


def augmentation():
    for name, (h, w, channels) in [("rgb", (6, 8, 3)), ("gray", (5, 4, 1)), ("rgba", (4, 6, 4))]:
        case = f"augment.{name}"
        rng = rng_for(case)
        plain = {"brightness": 0.0, "saturation": 1.0, "contrast": 1.0, "shift": [0, 0],
                 "cutout": [[0, 0], [0, 0]], "flip": False}
        color = lambda: {key: float(np.float32(rng.uniform(*r)))
                         for key, r in [("brightness", (-0.5, 0.5)), ("saturation", (0, 2)),
                                        ("contrast", (0.5, 1.5))]}
        choices = [
            plain,
            {**plain, **color()},
            {**plain, "shift": [1, -2]},
            {**plain, "cutout": [[1, 2], [-1, 3]]},
            {**color(), "shift": [-2, 1], "cutout": [[h - 1, 3], [0, 2]], "flip": True},
            {**color(), "shift": [0, -1], "cutout": [[0, 1], [w - 2, 2]], "flip": True},
        ]
        by = given(case, x=normal(rng, (len(choices), h, w, channels)))
        gout = normal(rng, (len(choices), h, w, channels))
        x = by["x"].permute(0, 3, 1, 2)
        if channels == 4:
            # Alpha is translated but has no color.
            alpha = [{**c, "brightness": 0.0, "saturation": 1.0, "contrast": 1.0} for c in choices]
            out = torch.cat([diff_augment(x[:, :3], choices), diff_augment(x[:, 3:], alpha)], 1)
        else:
            out = diff_augment(x, choices)
        out = out.permute(0, 2, 3, 1)
        (dx,) = torch.autograd.grad(out, [by["x"]], double(gout))
        record(case, gout=gout, out=out, dx=dx)
        cases.append({"case": case, "kind": "augment", "attrs": {"choices": choices}})


if __name__ == "__main__":
    for family in [objectives, penalties, features, classes, optimizers, clipping, history,
                   augmentation]:
        family()
    write_tensors(OUT + ".safetensors", tensors)
    write_json(OUT + ".json", cases)
