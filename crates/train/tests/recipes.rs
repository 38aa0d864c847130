//! Every preset trains, on a small labelled set.

#[path = "common/tricks.rs"]
mod tricks;

use nn::Recipe;
use std::sync::atomic::AtomicBool;
use tensor::Device;
use train::artefacts::{RunDir, checkpoint, metrics};
use train::{Sampler, Trainer, latents};

/// The preset, with networks as small as it lets them be.
fn small(name: &str) -> Recipe {
    let mut recipe = Recipe::preset(name).unwrap();
    (recipe.generator.width, recipe.discriminator.width) = (4, 4);
    recipe.train.batch = 4;
    (recipe.train.epochs, recipe.train.steps) = (None, Some(3));
    recipe.validate().unwrap();
    recipe
}

#[test]
fn every_preset_trains_three_steps_and_draws() {
    let dir = tempfile::tempdir().unwrap();
    let places = tricks::labelled(dir.path());
    for recipe in Recipe::names().map(small).chain(tricks::everything()) {
        let name = recipe.name.clone();
        let settings = tricks::settings(recipe, &places, 3);
        let data = tricks::open(&settings);
        let run_dir = RunDir::create_at(&dir.path().join(&name)).unwrap();
        let mut trainer = Trainer::new(settings, &Device::Cpu).unwrap();
        let before = trainer.networks().0.state_dict();
        let outcome = train::run(&mut trainer, &data, &run_dir, &AtomicBool::new(false), &mut |_| ())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome.finished, "{name}");
        let rows = metrics::read(&run_dir.metrics()).unwrap();
        assert_eq!(rows.len(), 3, "{name}");
        // Wasserstein losses may have any sign; all are numbers, and move.
        assert!(rows.iter().all(|row| row.d_loss.is_finite() && row.g_loss.is_finite()), "{name}");
        assert!(rows[0].d_loss != rows[1].d_loss && rows[1].g_loss != rows[2].g_loss, "{name}: nothing moves");
        assert_ne!(before, trainer.networks().0.state_dict(), "{name}");
        drop(trainer);

        let sampler = Sampler::new(&checkpoint::load(&outcome.checkpoint).unwrap(), None, &Device::Cpu).unwrap();
        let told = train::told(sampler.recipe()).is_some().then(|| sampler.recipe().example_conditions(2));
        let images = sampler.draw_under(&latents(sampler.recipe(), 1, 2), told.as_ref(), 2, |_| ()).unwrap();
        assert!(images.to_vec().iter().all(|pixel| (-1.0..=1.0).contains(pixel)), "{name}");
    }
}
