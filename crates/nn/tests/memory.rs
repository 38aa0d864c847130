//! Compares the plan's estimate of memory with a real training step. This test has its own binary
//! because the counters are global.

use nn::loss::GanLoss;
use nn::recipe::NetworkRole;
use nn::{ForwardCtx, Mode, NoiseRng, Optimizer, Recipe};
use tensor::rng::Philox;
use tensor::{Device, FiniteCheck};

/// The peak bytes of tensors in a step as the trainer runs it: D's losses one after the other, then
/// G's through D.
fn measured(recipe: &Recipe) -> usize {
    let batch = recipe.train.batch;
    let [h, w] = recipe.image.size;
    let alive = tensor::memory_stats().allocated;
    let mut rng = Philox::new(1, 0);
    let (g, d) = recipe.build(&mut rng).expect("valid");
    let (mut optimizer_g, mut optimizer_d) = (
        Optimizer::new(&g, recipe.optimizer(NetworkRole::Generator)),
        Optimizer::new(&d, recipe.optimizer(NetworkRole::Discriminator)),
    );
    let (noise, condition) = (
        NoiseRng::new(Philox::new(2, 0), 1.0),
        recipe.condition.as_ref().map(|_| recipe.example_conditions(batch)),
    );
    let pass = |mode| ForwardCtx::from(mode).with_rng(&noise).with_condition(condition.as_ref());
    let discriminate = pass(Mode { track: false, ..Mode::TRAIN });
    tensor::reset_peak_memory_stats();
    for _ in 0..2 {
        let real = rng.uniform([batch, h, w, recipe.image.channels], -1.0, 1.0);
        let fake = g.forward(&recipe.sample_z(&mut rng, batch, &Device::Cpu), pass(Mode::TRAIN));
        let mut grads =
            GanLoss::NonSaturating.real(&d.forward(&real, pass(Mode::TRAIN)), None).backward();
        grads.accumulate(
            GanLoss::NonSaturating
                .fake(&d.forward(&fake.detach(), pass(Mode::TRAIN)), None)
                .backward(),
        );
        optimizer_d.step(&d, &grads, &FiniteCheck::new(&Device::Cpu));
        drop(grads);
        let loss = GanLoss::NonSaturating.generator(&d.forward(&fake, discriminate));
        drop(fake);
        let grads = loss.backward();
        optimizer_g.step(&g, &grads, &FiniteCheck::new(&Device::Cpu));
    }
    tensor::memory_stats().peak - alive
}

#[test]
fn the_estimate_is_near_the_measured_peak() {
    let narrow = [("generator.width", "16"), ("discriminator.width", "16"), ("train.batch", "16")];
    let mut failures = Vec::new();
    for (preset, changes) in [
        ("torch", &narrow[..]),
        ("small", &[("train.batch", "64")]),
        (
            "torch",
            &[
                narrow[0],
                narrow[1],
                ("train.batch", "16"),
                ("generator.attention", "32"),
                ("discriminator.attention", "32"),
            ],
        ),
        (
            "small",
            &[
                ("train.batch", "256"),
                ("discriminator.minibatch_discrimination", "{ kernels = 100, dims = 5 }"),
            ],
        ),
        (
            "torch",
            &[
                narrow[0],
                narrow[1],
                narrow[2],
                ("discriminator.norm", "\"layer\""),
                ("generator.norm", "\"instance\""),
            ],
        ),
        (
            "torch",
            &[
                narrow[0],
                narrow[1],
                narrow[2],
                ("discriminator.minibatch_stddev", "4"),
                ("discriminator.dropout", "0.3"),
            ],
        ),
        (
            "torch",
            &[
                narrow[0],
                narrow[1],
                narrow[2],
                ("generator.upsample", "\"nearest\""),
                ("discriminator.downsample", "\"max-pool\""),
            ],
        ),
        (
            "torch",
            &[
                narrow[0],
                narrow[1],
                narrow[2],
                ("discriminator.parametrization", "\"spectral-norm\""),
                ("discriminator.bias", "true"),
            ],
        ),
        ("tf", &[("train.batch", "16")]),
        ("gan2014", &[]),
        ("keras-mnist", &[("train.batch", "64")]),
        ("newmu-mnist", &[("train.batch", "64")]),
        ("improved", &[("train.batch", "16")]),
    ] {
        let changes: Vec<_> =
            changes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let recipe = Recipe::preset(preset).expect("a preset").with(&changes).expect("valid");
        let (estimate, measured) =
            (recipe.summary().expect("valid").memory_bytes, measured(&recipe));
        let ratio = estimate as f64 / measured as f64;
        let line = format!(
            "{preset} {changes:?}: estimated {estimate} bytes, measured {measured}: {ratio:.2}"
        );
        println!("{line}");
        if !(0.8..1.2).contains(&ratio) {
            failures.push(line);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
