//! Every preset trains, on a small labelled set.

#[path = "common/tricks.rs"]
mod tricks;

use nn::Recipe;
use tensor::Device;
use train::artefacts::checkpoint;
use train::{Sampler, latents};

#[test]
fn every_preset_trains_three_steps_and_draws() {
    let dir = tempfile::tempdir().unwrap();
    let places = tricks::labelled(dir.path());
    for recipe in Recipe::names().map(tricks::small).chain(tricks::everything()) {
        let name = recipe.name.clone();
        let (outcome, rows) = tricks::three_steps(recipe, &places, &dir.path().join(&name), &Device::Cpu);
        assert!(rows[0].d_loss != rows[1].d_loss && rows[1].g_loss != rows[2].g_loss, "{name}: nothing moves");

        let sampler = Sampler::new(&checkpoint::load(&outcome.checkpoint).unwrap(), None, &Device::Cpu).unwrap();
        let told = train::told(sampler.recipe()).is_some().then(|| sampler.recipe().example_conditions(2));
        let images = sampler.draw_under(&latents(sampler.recipe(), 1, 2), told.as_ref(), 2, |_| ()).unwrap();
        assert!(images.to_vec().iter().all(|pixel| (-1.0..=1.0).contains(pixel)), "{name}");
    }
}
