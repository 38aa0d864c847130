//! The plan's estimate of memory beside a real training step. Alone in its binary: the counters are global.

use nn::loss::Objective;
use nn::{Mode, Optimizer, Recipe};
use tensor::rng::Philox;
use tensor::{Device, Guard};

#[test]
fn the_estimate_is_near_the_measured_peak() {
    let mut recipe = Recipe::preset("torch").expect("a preset");
    (recipe.generator.width, recipe.discriminator.width, recipe.train.batch) = (16, 16, 16);
    let plan = recipe.plan().expect("valid");
    let mut rng = Philox::new(1, 0);
    let (g, d) = recipe.build(&mut rng).expect("valid");
    let (mut optimizer_g, mut optimizer_d) = (Optimizer::new(&g, recipe.optimizer()), Optimizer::new(&d, recipe.optimizer()));
    tensor::reset_peak();
    for _ in 0..2 {
        let real = rng.uniform([16, 64, 64, 3], -1.0, 1.0);
        let fake = g.forward(&recipe.latents(&mut rng, 16, &Device::Cpu), Mode::TRAIN);
        let mut grads = Objective::NonSaturating.real(&d.forward(&real, Mode::TRAIN), None).backward();
        grads.accumulate(Objective::NonSaturating.fake(&d.forward(&fake.detach(), Mode::TRAIN), None).backward());
        optimizer_d.step(&d, &grads, &Guard::new(&Device::Cpu));
        drop(grads);
        let grads = Objective::NonSaturating.generator(&d.forward(&fake, Mode { track: false, ..Mode::TRAIN })).backward();
        optimizer_g.step(&g, &grads, &Guard::new(&Device::Cpu));
    }
    let (_, peak) = tensor::memory();
    let ratio = plan.memory_bytes as f64 / peak as f64;
    assert!((0.7..1.6).contains(&ratio), "estimated {} bytes, measured {peak}", plan.memory_bytes);
}
