//! The settings of a run in tests: each test changes what it is about.
// Each test binary uses its own part of this.
#![allow(dead_code)]

use data::Preprocess;
use nn::Recipe;
use std::path::Path;
use train::Settings;

/// A run of `steps` steps that logs each of them.
pub fn base(recipe: Recipe, steps: u64) -> Settings {
    let ([h, w], channels) = (recipe.image.size, recipe.image.channels);
    Settings {
        data: "synthetic".into(),
        seed: 11,
        steps,
        log_every: 1,
        sample_every: 1000,
        checkpoint_every: 1000,
        keep: 2,
        shuffle_buffer: None,
        monitor: Default::default(),
        eval: None,
        preprocess: Preprocess::new([h as u32, w as u32], channels as u8),
        condition_file: None,
        recipe,
        overrides: Vec::new(),
    }
}

/// `torch` for images of `side`² with networks of 8 channels, latents of 6 values and a batch of 4.
pub fn tiny_recipe(side: usize) -> Recipe {
    let mut recipe = Recipe::preset("torch").unwrap();
    recipe.image.size = [side; 2];
    (recipe.generator.width, recipe.discriminator.width, recipe.generator.latent) = (8, 8, 6);
    recipe.train.batch = 4;
    recipe
}

/// A run of the tiny recipe on `count` images of 16×16, which are written into the folder `data`.
pub fn tiny_run(data: &Path, count: u32, steps: u64) -> Settings {
    write_images(data, count);
    let data = data.display().to_string();
    let settings = base(tiny_recipe(16), steps);
    Settings { data, sample_every: 5, checkpoint_every: 3, ..settings }
}

/// A few colored images of 16×16 with structure.
fn write_images(dir: &Path, count: u32) {
    std::fs::create_dir_all(dir).unwrap();
    for i in 0..count {
        let image = image::RgbImage::from_fn(16, 16, |x, y| {
            image::Rgb([(x * 16) as u8, (y * 16 + i * 7) as u8, ((x ^ y) * i % 256) as u8])
        });
        image.save(dir.join(format!("{i:03}.png"))).unwrap();
    }
}
