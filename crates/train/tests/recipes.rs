//! Every preset trains, on a small labeled dataset.

#[path = "common/fixtures.rs"]
mod fixtures;
#[path = "common/settings.rs"]
mod settings;

use data::{Batch, Cursor};
use nn::Recipe;
use runs::checkpoint;
use tensor::Device;
use train::condition::Conditions;
use train::{Sampler, latents};

#[test]
fn every_preset_trains_twenty_steps_and_draws() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    for recipe in Recipe::names().map(fixtures::small).chain(fixtures::everything()) {
        let name = recipe.name.clone();
        let (outcome, rows) =
            fixtures::trained(&recipe, 20, &places, &dir.path().join(&name), &Device::Cpu);
        assert!(
            rows[0].d_loss != rows[1].d_loss && rows[1].g_loss != rows[2].g_loss,
            "{name}: nothing moves"
        );

        let sampler =
            Sampler::new(&checkpoint::load(&outcome.checkpoint).unwrap(), None, &Device::Cpu)
                .unwrap();
        let condition = train::generator_condition(sampler.recipe())
            .is_some()
            .then(|| sampler.recipe().example_conditions(2));
        let images = sampler
            .sample(&latents(sampler.recipe(), 1, 2), condition.as_ref(), 2, |_| ())
            .unwrap();
        assert!(images.to_vec().iter().all(|pixel| (-1.0..=1.0).contains(pixel)), "{name}");
    }
}

/// Of a semi-supervised D: as many of each class as can be, the same ones each time.
#[test]
fn some_labels_are_learned_and_the_others_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let places = fixtures::labeled(dir.path());
    let keys = [
        ("image.size", "[16, 16]"),
        ("train.batch", "4"),
        ("condition.kind", "class"),
        ("condition.size", "10"),
        ("condition.generator", "none"),
        ("condition.discriminator", "none"),
        ("objective.semi_supervised", "true"),
        ("objective.num_labels", "13"),
    ];
    let recipe = fixtures::small("torch")
        .with(&keys.map(|(key, value)| (key.to_owned(), value.to_owned())))
        .unwrap();
    let settings = fixtures::settings(recipe.clone(), &places, 3);
    let set = fixtures::open(&settings);
    let of = |count: usize| -> Vec<f32> {
        let conditions = Conditions::new(recipe.condition.as_ref().unwrap(), &set, None)
            .unwrap()
            .with_labels(count);
        let indices = (0..set.len()).collect();
        conditions.of(&Batch {
            images: Vec::new(),
            labels: None,
            indices,
            cursor: Cursor::new(0),
            epoch_end: false,
        })
    };
    let known = |rows: &[f32]| -> Vec<f32> {
        (0..10).map(|class| rows.iter().skip(class).step_by(10).sum()).collect()
    };
    assert_eq!(known(&of(0)), [2.0; 10]);
    assert_eq!(known(&of(500)), [2.0; 10]);
    assert_eq!(known(&of(10)), [1.0; 10]);
    let some = of(13);
    assert_eq!(known(&some).iter().sum::<f32>(), 13.0);
    assert!(known(&some).iter().all(|count| [1.0, 2.0].contains(count)));
    assert!(some.iter().zip(of(0)).all(|(&some, all)| some <= all), "no label is another");
    fixtures::trained(&recipe, 3, &places, &dir.path().join("run"), &Device::Cpu);
}
