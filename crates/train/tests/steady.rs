//! After warm-up a step allocates nothing. Alone in its binary: the counter is global.

#[path = "common/settings.rs"]
mod settings;

use nn::Recipe;
use tensor::Device;
use tensor::rng::Philox;
use train::{Settings, Trainer};

#[test]
fn a_steady_step_takes_no_memory_from_the_system() {
    let mut recipe = Recipe::preset("torch").unwrap();
    (recipe.generator.width, recipe.discriminator.width, recipe.train.batch) = (32, 32, 16);
    let latent = recipe.generator.latent;
    let settings = Settings { seed: 1, ..settings::base(recipe, 8) };
    // On one thread: on more, how many tasks hold scratch memory at a time is a matter of luck.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let fresh = pool.install(|| {
        let mut trainer = Trainer::new(settings, &Device::Cpu).unwrap();
        let mut rng = Philox::new(2, 0);
        let real = rng.uniform([16, 64, 64, 3], -1.0, 1.0);
        let step = |_| {
            let z = rng.normal([16, latent], 0.0, 1.0);
            trainer.train_step_on(&real, &z, None).wait().unwrap();
            tensor::memory_stats().num_allocs
        };
        (0..8).map(step).collect::<Vec<_>>()
    });
    assert!(
        fresh[0] > 0 && fresh[2..].iter().all(|n| *n == fresh[2]),
        "blocks from the system after each step: {fresh:?}"
    );
}
