//! Recipes: presets, reading, refusing, and what is built from them.

use nn::{Activation, Mode, NnError, Recipe, recipe::DEFAULT};
use proptest::prelude::*;
use tensor::Device;
use tensor::rng::Philox;

fn preset(name: &str) -> Recipe {
    Recipe::preset(name).expect("a preset")
}

#[test]
fn presets_are_valid_and_read_back_equal() {
    let names: Vec<_> = Recipe::names().collect();
    for name in ["torch", "paper", "newmu-svhn", "small", DEFAULT] {
        assert!(names.contains(&name));
    }
    for name in names {
        let recipe = preset(name);
        recipe.validate().expect("valid");
        assert_eq!(recipe.name, name);
        let text = recipe.to_toml();
        assert_eq!(Recipe::from_toml(&text).expect("its own text"), recipe);
        assert_eq!(Recipe::from_toml(&text).expect("its own text").to_toml(), text);
        assert_eq!(Recipe::from_toml(&format!("base = \"{name}\"")).expect("a base alone"), recipe);
    }
}

#[test]
fn unusual_values_read_back_equal() {
    let mut recipe = preset("small");
    recipe.description = "quotes \" and\nlines = [1]".into();
    recipe.generator.activation = Activation::LeakyRelu(0.2);
    recipe.optimizer.lr = 1.0 / 3.0;
    (recipe.train.epochs, recipe.train.steps) = (None, Some(1500));
    assert_eq!(Recipe::from_toml(&recipe.to_toml()).expect("its own text"), recipe);
    assert!(recipe.to_toml().contains("0.2\n") || recipe.to_toml().contains("0.2 "), "{}", recipe.to_toml());
}

#[test]
fn mirroring_is_off_unless_it_is_asked_for() {
    assert!(!preset("torch").image.flip && !preset("torch").to_toml().contains("flip"), "older recipes read and look as before");
    let recipe = Recipe::from_toml("base = \"torch\"\n[image]\nflip = true\n").expect("valid");
    assert!(recipe.image.flip && recipe.to_toml().contains("flip = true"));
    assert_eq!(Recipe::from_toml(&recipe.to_toml()).expect("its own text"), recipe);
    let text = Recipe::from_toml("base = \"torch\"\n[image]\nflip = 1\n").expect_err("no number").to_string();
    assert!(text.contains("image.flip"), "{text}");
}

#[test]
fn a_base_fills_in_what_is_missing() {
    let recipe = Recipe::from_toml("base = \"torch\"\nname = \"mine\"\n[train]\nsteps = 7\nbatch = 4\n").expect("valid");
    let mut expected = preset("torch");
    expected.name = "mine".into();
    (expected.train.batch, expected.train.steps, expected.train.epochs) = (4, Some(7), None);
    assert_eq!(recipe, expected);
    // A whole number is a number.
    assert_eq!(Recipe::from_toml("base = \"torch\"\n[optimizer]\nlr = 1").expect("valid").optimizer.lr, 1.0);
}

#[test]
fn bad_recipes_are_refused_in_one_line_that_names_the_key() {
    for (text, expected) in [
        ("[optimizer]\nlrr = 1.0", "unknown key \"optimizer.lrr\" in the recipe, did you mean \"optimizer.lr\"?"),
        ("[optimiser]\nlr = 1.0", "unknown key \"optimiser\" in the recipe, did you mean \"optimizer\"?"),
        ("lr = 1.0", "unknown key \"lr\" in the recipe, did you mean \"optimizer.lr\"?"),
        ("[generator]\nslope = 0.1", "unknown key \"generator.slope\" in the recipe, did you mean \"discriminator.slope\"?"),
        ("[optimizer]\nlr = \"fast\"", "recipe key \"optimizer.lr\" = \"fast\": invalid type"),
        ("[optimizer]\nlr = 0", "recipe key \"optimizer.lr\" = 0: must be a number greater than 0"),
        ("[optimizer]\nlr = -0.1", "recipe key \"optimizer.lr\" = -0.1: must be a number greater than 0"),
        ("[optimizer]\nlr = nan", "recipe key \"optimizer.lr\" = NaN: must be"),
        ("[optimizer]\nlr = inf", "recipe key \"optimizer.lr\" = inf: must be"),
        ("[optimizer]\nlr = 1e-60", "recipe key \"optimizer.lr\" = 0.000"),
        ("[optimizer]\nbeta1 = 1.0", "recipe key \"optimizer.beta1\" = 1: must be at least 0 and less than 1"),
        ("[optimizer]\nbeta2 = -0.5", "recipe key \"optimizer.beta2\" = -0.5: must be at least 0"),
        ("[train]\nbatch = 0", "recipe key \"train.batch\" = 0: must be from 1"),
        ("[train]\nbatch = -3", "recipe key \"train.batch\" = -3: invalid value"),
        ("[train]\nbatch = 1.5", "recipe key \"train.batch\" = 1.5: invalid type"),
        ("[train]\nsteps = 9223372036854775807", "recipe key \"train.steps\" = 9223372036854775807: must be from 1"),
        ("[train]\nepochs = 0", "recipe key \"train.epochs\" = 0: must be from 1"),
        ("[train]\nepochs = 1\nsteps = 1", "recipe key \"train.steps\" = 1: cannot stand beside train.epochs"),
        ("[train]\nema = 1.0", "recipe key \"train.ema\" = 1: must be"),
        (
            "[generator]\nstem = \"conf\"",
            "recipe key \"generator.stem\" = \"conf\": unknown variant `conf`, expected `conv` or `linear`",
        ),
        ("[generator]\nwidth = 0", "recipe key \"generator.width\" = 0: must be from 1"),
        ("[generator]\nkernel = 1", "recipe key \"generator.kernel\" = 1: must be from 2"),
        ("[discriminator]\nwidth = 60000\n[image]\nsize = [4096, 4096]", "recipe key \"train.batch\" = 128: main."),
        ("[generator]\nwidth = 60000", "recipe key \"generator.width\" = 60000: makes a network of 115789320000 parameters"),
        ("[image]\nsize = [512, 512]\n[train]\nbatch = 65536", "recipe key \"train.batch\" = 65536: main.0 would need"),
        ("[image]\nchannels = 2", "recipe key \"image.channels\" = 2: must be 1 (grey), 3 (RGB) or 4 (RGBA)"),
        ("[image]\nsize = [63, 64]", "image size 63x64 cannot be made"),
        ("[image]\nsize = [4, 4]", "image size 4x4 cannot be made"),
        ("[image]\nsize = [1000000000000, 64]", "recipe key \"image.size\" = [1000000000000, 64]: sides must be at most 8192"),
        ("[image]\nsize = [64]", "recipe key \"image.size\" = [64]: invalid length 1"),
        ("image = 64", "recipe key \"image\" = 64: must be a section, [image]"),
        ("base = 3", "recipe key \"base\" = 3"),
        ("[image\n", "the recipe is not valid TOML: line 2: "),
        ("a = 1\nb = = 2", "the recipe is not valid TOML: line 3: "),
    ] {
        let complete = if text.starts_with("base") { text.to_string() } else { format!("base = \"small\"\n{text}") };
        let error = Recipe::from_toml(&complete).expect_err(text).to_string();
        assert!(error.starts_with(expected), "{text:?} gave\n{error}\nexpected\n{expected}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = Recipe::from_toml("name = \"x\"").expect_err("incomplete").to_string();
    assert!(error.starts_with("the recipe lacks the key \""), "{error}");
    let whole = preset("torch").to_toml();
    let error = Recipe::from_toml(&whole.replace("beta2 = 0.999\n", "")).expect_err("incomplete").to_string();
    assert!(error.starts_with("the recipe lacks the key \"optimizer.beta2\""), "{error}");
    let error = Recipe::from_toml(&whole.replace("epochs = 25\n", "")).expect_err("incomplete").to_string();
    assert!(error.starts_with("the recipe lacks the key \"train.epochs\""), "{error}");
}

#[test]
fn unknown_presets_name_the_nearest() {
    let text = Recipe::preset("tourch").expect_err("unknown").to_string();
    assert_eq!(text, "unknown recipe \"tourch\", did you mean \"torch\"? (there are small, torch, paper, newmu-svhn)");
    let text = Recipe::from_toml("base = \"PAPER\"").expect_err("unknown").to_string();
    assert!(text.contains("did you mean \"paper\"?"), "{text}");
    let text = Recipe::preset("zzz").expect_err("unknown").to_string();
    assert_eq!(text, "unknown recipe \"zzz\" (there are small, torch, paper, newmu-svhn)");
}

#[test]
fn impossible_sizes_name_the_nearest() {
    let mut recipe = preset("torch");
    for (size, text) in
        [([63, 64], "60x64, 64x64"), ([31, 33], "30x32, 32x36"), ([6, 6], "8x8"), ([0, 28], "8x28"), ([29, 29], "28x28, 30x30")]
    {
        recipe.image.size = size;
        let error = recipe.validate().expect_err("no such size");
        assert!(matches!(error, NnError::ImageSize { .. }), "{error}");
        assert!(error.to_string().ends_with(&format!("nearest sizes that can: {text}")), "{error}");
    }
}

#[test]
fn batch_norm_over_a_single_value_is_refused() {
    let mut recipe = preset("paper");
    recipe.train.batch = 1;
    let error = recipe.validate().expect_err("one value per unit").to_string();
    assert!(error.starts_with("recipe key \"train.batch\" = 1: batch norm at main.1 would see a single value"), "{error}");
    recipe.train.batch = 2;
    recipe.validate().expect("two values");
    recipe = preset("torch");
    recipe.train.batch = 1;
    recipe.validate().expect("16 values per channel");
}

#[test]
fn networks_have_the_right_shapes_at_many_sizes() {
    let sizes = [[28, 28], [32, 32], [64, 64], [8, 8], [10, 8], [12, 40], [48, 64], [64, 48], [96, 96], [20, 36], [16, 62]];
    for name in Recipe::names() {
        for size in sizes {
            for channels in [1, 3, 4] {
                for kernel in [2, 3, 4, 5, 6, 7] {
                    let mut recipe = preset(name);
                    (recipe.image.size, recipe.image.channels) = (size, channels);
                    (recipe.generator.width, recipe.generator.latent, recipe.generator.kernel) = (2, 3, kernel);
                    (recipe.discriminator.width, recipe.discriminator.kernel) = (2, kernel);
                    let mut rng = Philox::new(1, 0);
                    let (g, d) = recipe.build(&mut rng).expect("valid");
                    let image = g.forward(&recipe.latents(&mut rng, 2, &Device::Cpu), Mode::BATCH);
                    assert_eq!(image.shape()[..], [2, size[0], size[1], channels], "{name} {size:?} {kernel}");
                    assert!(image.to_vec().iter().all(|p| p.abs() < 1.0), "{name} {size:?}");
                    let logits = d.forward(&image, Mode::BATCH);
                    assert_eq!(logits.shape()[..], [2], "{name} {size:?} {kernel}");
                    let plan = recipe.plan().expect("valid");
                    assert_eq!(plan.parameters, g.num_parameters() + d.num_parameters());
                    assert_eq!(plan.generator.last().map(|row| &row.output[..]), Some(&[size[0], size[1], channels][..]));
                    assert_eq!(plan.discriminator.last().map(|row| &row.output[..]), Some(&[][..]));
                }
            }
        }
    }
}

#[test]
fn initial_weights_have_the_recipe_s_deviations() {
    let mut recipe = preset("torch");
    (recipe.init.std, recipe.init.gamma_std) = (0.05, 0.3);
    let (g, _) = recipe.build(&mut Philox::new(1, 0)).expect("valid");
    let state = g.state_dict();
    let moments = |name: &str| {
        let nn::StateValue::F32 { data, .. } = &state[name] else { panic!("{name}") };
        let mean = data.iter().map(|&x| f64::from(x)).sum::<f64>() / data.len() as f64;
        (mean, (data.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / data.len() as f64).sqrt())
    };
    let (mean, std) = moments("main.3.weight");
    assert!(mean.abs() < 2e-4 && (std - 0.05).abs() < 2e-4, "{mean} {std}");
    let (mean, std) = moments("main.1.weight");
    assert!((mean - 1.0).abs() < 0.05 && (std - 0.3).abs() < 0.03, "{mean} {std}");
    assert_eq!(moments("main.1.bias"), (0.0, 0.0));
    assert_eq!(moments("main.1.running_var"), (1.0, 0.0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn damaged_text_never_panics(at in 0usize..900, with in "[ -~\n]{0,3}", cut in 0usize..6) {
        let mut text = preset("small").to_toml();
        let start = at.min(text.len());
        let end = (start + cut).min(text.len());
        text.replace_range(start..end, &with);
        if let Ok(recipe) = Recipe::from_toml(&text) {
            prop_assert!(recipe.validate().is_ok());
        }
    }
}
