//! Recipes: presets, parsing, validation, and the networks built from them.

use nn::recipe::{ConditioningMethod, DEFAULT, Range};
use nn::{Activation, ForwardCtx, Mode, Network, NnError, Recipe, ValueProblem};
use proptest::prelude::*;
use tensor::rng::Philox;
use tensor::{Device, HostTensor, TensorData};

fn preset(name: &str) -> Recipe {
    Recipe::preset(name).expect("a preset")
}

/// The error of a recipe that `base` completes.
#[track_caller]
fn refusal(base: &str, keys: &str) -> NnError {
    Recipe::from_toml(&format!("base = \"{base}\"\n{keys}")).expect_err(keys)
}

/// What is wrong with a value, without the words.
#[derive(PartialEq, Debug)]
enum Wrong<'a> {
    Invalid,
    OutOfRange,
    TooLarge,
    Layer,
    /// The shape of the samples of the last layer, and the wanted one.
    LastLayer(&'a [usize], &'a [usize]),
    /// Together with this key or section.
    With(&'a str),
}
use Wrong::{Invalid, LastLayer, OutOfRange, TooLarge, With};

/// The key and the value of a refused value, and what is wrong with it.
#[track_caller]
fn bad_value(error: &NnError) -> (&str, &str, Wrong<'_>) {
    assert!(!error.to_string().contains('\n'), "{error}");
    let NnError::BadValue { key, value, problem } = error else { panic!("{error:?}") };
    let wrong = match problem {
        ValueProblem::Invalid(_) => Invalid,
        ValueProblem::OutOfRange(_) => OutOfRange,
        ValueProblem::TooLarge(_) => TooLarge,
        ValueProblem::Layer(_) => Wrong::Layer,
        ValueProblem::LastLayer { found, wanted, .. } => LastLayer(found, wanted),
        ValueProblem::Combination { other, .. } => With(other),
    };
    (key, value, wrong)
}

/// The number of trained values.
fn num_parameters(network: &Network) -> usize {
    network.params().iter().map(|(_, param)| param.value().len()).sum()
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
    assert!(
        recipe.to_toml().contains("0.2\n") || recipe.to_toml().contains("0.2 "),
        "{}",
        recipe.to_toml()
    );
}

#[test]
fn mirroring_is_off_by_default() {
    assert!(
        !preset("torch").image.flip && !preset("torch").to_toml().contains("flip"),
        "older recipes read and look as before"
    );
    let recipe = Recipe::from_toml("base = \"torch\"\n[image]\nflip = true\n").expect("valid");
    assert!(recipe.image.flip && recipe.to_toml().contains("flip = true"));
    assert_eq!(Recipe::from_toml(&recipe.to_toml()).expect("its own text"), recipe);
    let error = refusal("torch", "[image]\nflip = 1\n");
    assert_eq!(bad_value(&error), ("image.flip", "1", Invalid));
}

#[test]
fn a_base_fills_in_what_is_missing() {
    let recipe =
        Recipe::from_toml("base = \"torch\"\nname = \"mine\"\n[train]\nsteps = 7\nbatch = 4\n")
            .expect("valid");
    let mut expected = preset("torch");
    expected.name = "mine".into();
    (expected.train.batch, expected.train.steps, expected.train.epochs) = (4, Some(7), None);
    assert_eq!(recipe, expected);
    // An integer is accepted as a float.
    assert_eq!(
        Recipe::from_toml("base = \"torch\"\n[optimizer]\nlr = 1").expect("valid").optimizer.lr,
        1.0
    );
}

#[test]
fn bad_values_are_refused_by_key() {
    let tiny = 1e-60_f64.to_string();
    for (text, key, value, wrong) in [
        ("[optimizer]\nlr = \"fast\"", "optimizer.lr", "\"fast\"", Invalid),
        ("[optimizer]\nlr = 0", "optimizer.lr", "0", OutOfRange),
        ("[optimizer]\nlr = -0.1", "optimizer.lr", "-0.1", OutOfRange),
        ("[optimizer]\nlr = nan", "optimizer.lr", "NaN", OutOfRange),
        ("[optimizer]\nlr = inf", "optimizer.lr", "inf", OutOfRange),
        // 0 in single precision.
        ("[optimizer]\nlr = 1e-60", "optimizer.lr", &tiny, OutOfRange),
        ("[optimizer]\nbeta1 = 1.0", "optimizer.beta1", "1", OutOfRange),
        ("[optimizer]\nbeta2 = -0.5", "optimizer.beta2", "-0.5", OutOfRange),
        (
            "[optimizer]\nschedule = { kind = \"step\", every = 0, factor = 0.5 }",
            "optimizer.schedule",
            "Step { every: 0, factor: 0.5, warmup: 0 }",
            OutOfRange,
        ),
        ("[train]\nbatch = 0", "train.batch", "0", OutOfRange),
        ("[train]\nbatch = -3", "train.batch", "-3", Invalid),
        ("[train]\nbatch = 1.5", "train.batch", "1.5", Invalid),
        ("[train]\nsteps = 9223372036854775807", "train.steps", "9223372036854775807", OutOfRange),
        ("[train]\nepochs = 0", "train.epochs", "0", OutOfRange),
        ("[train]\nepochs = 1\nsteps = 1", "train.steps", "1", With("train.epochs")),
        ("[train]\nema = 1.0", "train.ema", "1", OutOfRange),
        ("[labels]\nreal = [1.0, 0.9]", "labels.real", "[1, 0.9]", OutOfRange),
        ("[labels]\nflip = 1.0", "labels.flip", "1", OutOfRange),
        ("[generator]\nstem = \"conf\"", "generator.stem", "\"conf\"", Invalid),
        ("[generator]\nwidth = 0", "generator.width", "0", OutOfRange),
        ("[generator]\nkernel = 1", "generator.kernel", "1", OutOfRange),
        (
            "[discriminator]\nwidth = 60000\n[image]\nsize = [4096, 4096]",
            "train.batch",
            "128",
            TooLarge,
        ),
        ("[generator]\nwidth = 60000", "generator.width", "60000", TooLarge),
        ("[image]\nsize = [512, 512]\n[train]\nbatch = 65536", "train.batch", "65536", TooLarge),
        ("[image]\nchannels = 2", "image.channels", "2", OutOfRange),
        ("[image]\nsize = [1000000000000, 64]", "image.size", "[1000000000000, 64]", OutOfRange),
        ("[image]\nsize = [64]", "image.size", "[64]", Invalid),
        ("image = 64", "image", "64", Invalid),
    ] {
        assert_eq!(bad_value(&refusal("small", text)), (key, value, wrong), "{text}");
    }
    let error = Recipe::from_toml("base = 3").expect_err("no name");
    assert_eq!(bad_value(&error), ("base", "3", Invalid));
}

#[test]
fn bad_texts_are_refused_by_key_or_line() {
    for (key, unknown) in [
        ("optimizer.lrr", "optimizer.lrr"),
        // The whole section is unknown.
        ("optimiser.lr", "optimiser"),
        ("lr", "lr"),
        ("generator.slope", "generator.slope"),
    ] {
        let error = preset("small").with(&[(key.into(), "1.0".into())]).expect_err(key);
        let NnError::UnknownKey { key: named, known } = &error else { panic!("{error:?}") };
        assert_eq!(named, unknown);
        assert!(
            ["base", "optimizer", "optimizer.lr"].iter().all(|key| known.contains(&(*key).into()))
        );
        assert!(!known.contains(named), "{named}");
    }
    for (text, wanted) in [("[image\n", 2), ("a = 1\nb = = 2", 3)] {
        let error = refusal("small", text);
        assert!(matches!(error, NnError::Syntax { line, .. } if line == wanted), "{error:?}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    for sides in [[63_usize, 64], [4, 4]] {
        let error = refusal("small", &format!("[image]\nsize = {sides:?}"));
        assert!(matches!(error, NnError::ImageSize { size, .. } if size == sides), "{error:?}");
    }
    let lacks = |text: &str| match Recipe::from_toml(text).expect_err("incomplete") {
        NnError::MissingKey { key } => key,
        error => panic!("{error:?}"),
    };
    assert_eq!(lacks("name = \"x\""), "description");
    let whole = preset("torch").to_toml();
    assert_eq!(lacks(&whole.replace("beta2 = 0.999\n", "")), "optimizer.beta2");
    assert_eq!(lacks(&whole.replace("epochs = 25\n", "")), "train.epochs");
}

#[test]
fn errors_are_displayed_in_one_line() {
    let error = refusal("small", "[optimizer]\nlr = 0");
    assert_eq!(
        error.to_string(),
        "recipe key \"optimizer.lr\" = 0: must be greater than 0; 0.0002 is usual"
    );
}

#[test]
fn unknown_presets_are_refused() {
    let unknown = |name: &str| NnError::UnknownRecipe { name: name.into() };
    assert_eq!(Recipe::preset("tourch"), Err(unknown("tourch")));
    assert_eq!(Recipe::from_toml("base = \"PAPER\""), Err(unknown("PAPER")));
}

#[test]
fn impossible_sizes_name_the_nearest() {
    let mut recipe = preset("torch");
    for (size, nearest) in [
        ([63, 64], vec![[60, 64], [64, 64]]),
        ([31, 33], vec![[30, 32], [32, 36]]),
        ([6, 6], vec![[8, 8]]),
        ([0, 28], vec![[8, 28]]),
        ([29, 29], vec![[28, 28], [30, 30]]),
    ] {
        recipe.image.size = size;
        let error = recipe.validate().expect_err("no such size");
        assert_eq!(error, NnError::ImageSize { size, nearest });
    }
}

#[test]
fn batch_norm_over_a_single_value_is_refused() {
    let mut recipe = preset("paper");
    recipe.train.batch = 1;
    let error = recipe.validate().expect_err("one value per unit");
    assert_eq!(bad_value(&error), ("train.batch", "1", With("generator.stem")));
    recipe.train.batch = 2;
    recipe.validate().expect("two values");
    recipe = preset("torch");
    recipe.train.batch = 1;
    recipe.validate().expect("16 values per channel");
}

#[test]
fn networks_have_the_right_shapes_at_many_sizes() {
    let sizes = [
        [28, 28],
        [32, 32],
        [64, 64],
        [8, 8],
        [10, 8],
        [12, 40],
        [48, 64],
        [64, 48],
        [96, 96],
        [20, 36],
        [16, 62],
    ];
    for name in ["small", "torch", "modern", "paper", "newmu-svhn"] {
        for size in sizes {
            for channels in [1, 3, 4] {
                for kernel in [2, 3, 4, 5, 6, 7] {
                    let mut recipe = preset(name);
                    (recipe.image.size, recipe.image.channels) = (size, channels);
                    (recipe.generator.width, recipe.generator.latent, recipe.generator.kernel) =
                        (2, 3, kernel);
                    (recipe.discriminator.width, recipe.discriminator.kernel) = (2, kernel);
                    let mut rng = Philox::new(1, 0);
                    let (g, d) = recipe.build(&mut rng).expect("valid");
                    let image = g.forward(&recipe.sample_z(&mut rng, 2, &Device::Cpu), Mode::BATCH);
                    assert_eq!(
                        image.shape()[..],
                        [2, size[0], size[1], channels],
                        "{name} {size:?} {kernel}"
                    );
                    assert!(image.to_vec().iter().all(|p| p.abs() < 1.0), "{name} {size:?}");
                    let logits = d.forward(&image, Mode::BATCH);
                    assert_eq!(logits.shape()[..], [2], "{name} {size:?} {kernel}");
                    let plan = recipe.summary().expect("valid");
                    assert_eq!(plan.parameters, num_parameters(&g) + num_parameters(&d));
                    assert_eq!(
                        plan.generator.last().map(|row| &row.output[..]),
                        Some(&[size[0], size[1], channels][..])
                    );
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
        let HostTensor { data: TensorData::F32(data), .. } = &state[name] else { panic!("{name}") };
        let mean = data.iter().map(|&x| f64::from(x)).sum::<f64>() / data.len() as f64;
        (
            mean,
            (data.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / data.len() as f64)
                .sqrt(),
        )
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

/// The input of a network: latents or images, and conditions where it is conditioned on them.
fn run(recipe: &Recipe, count: usize) -> (tensor::Tensor, tensor::Tensor) {
    let mut rng = Philox::new(7, 0);
    let (g, d) = recipe.build(&mut rng).expect("valid");
    let condition = recipe.condition.as_ref().map(|_| recipe.example_conditions(count));
    let input = |method: ConditioningMethod| {
        let reads = !matches!(method, ConditioningMethod::None | ConditioningMethod::Auxiliary);
        condition.as_ref().filter(|_| reads)
    };
    let c = recipe.condition.as_ref();
    let to_g = c.and_then(|c| input(c.generator));
    let to_d = c.and_then(|c| input(c.discriminator));
    let z = recipe.sample_z(&mut rng, count, &Device::Cpu);
    let image = g.forward(&z, ForwardCtx::from(Mode::BATCH).with_condition(to_g));
    let logits = d.forward(&image, ForwardCtx::from(Mode::BATCH).with_condition(to_d));
    assert_eq!(
        recipe.summary().expect("valid").parameters,
        num_parameters(&g) + num_parameters(&d),
        "{}",
        recipe.name
    );
    (image, logits)
}

#[test]
fn every_preset_makes_images_and_logits() {
    for name in Recipe::names() {
        let mut recipe = preset(name);
        recipe.generator.width = recipe.generator.width.min(8);
        recipe.discriminator.width = recipe.discriminator.width.min(8);
        let (image, logits) = run(&recipe, 4);
        let [h, w] = recipe.image.size;
        assert_eq!(image.shape()[..], [4, h, w, recipe.image.channels], "{name}");
        let low = if recipe.image.range == Range::Unit { 0.0 } else { -1.0 };
        assert!(image.to_vec().iter().all(|p| (low..=1.0).contains(p)), "{name}");
        match recipe.num_d_outputs() {
            1 => assert_eq!(logits.shape()[..], [4], "{name}"),
            n => assert_eq!(logits.shape()[..], [4, n], "{name}"),
        }
    }
}

#[test]
fn presets_have_the_parameters_of_their_sources() {
    // Counted by hand from the layers of the sources: (generator, discriminator).
    for (name, g, d) in [
        // Newmu/dcgan_code, mnist: no biases, and batch norm without γ and β.
        (
            "newmu-mnist",
            110 * 1024 + 1034 * 6272 + 25 * (138 * 64 + 74),
            25 * (11 * 64 + 74 * 128) + 6282 * 1024 + 1034,
        ),
        (
            "newmu-imagenet32",
            256 * 8192
                + 2 * 8192
                + 9 * (512 * 512 + 512 * 256 + 256 * 256 + 256 * 128 + 128 * 128 + 128 * 3)
                + 2 * (512 + 256 + 256 + 128 + 128),
            9 * (3 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512 + 512 * 512)
                + 2 * (128 + 256 + 256 + 512 + 512)
                + 8192,
        ),
        (
            "tf",
            101 * 8192
                + 2 * 512
                + 25 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
                + (256 + 128 + 64 + 3)
                + 2 * (256 + 128 + 64),
            25 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
                + (64 + 128 + 256 + 512)
                + 2 * (128 + 256 + 512)
                + 8193,
        ),
        // As `model.summary()` of Keras counts them, except for batch norm's running statistics.
        (
            "keras-mnist",
            101 * 1024 + 1025 * 6272 + 2 * 6272 + (128 * 25 + 1) * 64 + (64 * 25 + 1),
            26 * 64 + (64 * 25 + 1) * 128 + 3201 * 1024 + 1025,
        ),
        (
            "gans-in-action",
            101 * 12544
                + (256 * 9 + 1) * 128
                + 2 * 128
                + (128 * 9 + 1) * 64
                + 2 * 64
                + (64 * 9 + 1),
            10 * 32 + (32 * 9 + 1) * 64 + 2 * 64 + (64 * 9 + 1) * 128 + 2 * 128 + 2049,
        ),
        ("gans-in-action-dense", 101 * 128 + 129 * 784, 785 * 128 + 129),
        ("gan2014", 101 * 1200 + 1201 * 1200 + 1201 * 784, 785 * 1200 + 241 * 1200 + 241),
    ] {
        let plan = preset(name).summary().expect("valid");
        let sum = |rows: &[nn::LayerSummary]| rows.iter().map(|row| row.parameters).sum::<usize>();
        assert_eq!((sum(&plan.generator), sum(&plan.discriminator)), (g, d), "{name}");
    }
}

#[test]
fn every_key_of_the_networks_builds() {
    let base = "base = \"small\"\n[image]\nsize = [32, 32]\n";
    for (keys, outputs) in [
        (
            "[generator]\nwidth = 8\nupsample = \"nearest\"\nnorm = \"instance\"\nattention = 16\n\
             dropout = 0.3\nbias = true",
            1,
        ),
        ("[generator]\nwidth = 8\nstem = \"linear\"\nnorm = \"layer\"\nattention = 4", 1),
        ("[generator]\nwidth = 4\nnorm = \"virtual-batch\"\nreference = 5", 1),
        (
            "[generator]\nwidth = 4\nnorm_everywhere = true\nparametrization = \"weight-norm\"\n\
             [init]\nscheme = \"orthogonal\"",
            1,
        ),
        (
            "[discriminator]\nwidth = 8\ndownsample = \"max-pool\"\nhead = \"global-average\"\n\
             attention = 8\nnoise = 0.1",
            1,
        ),
        (
            "[discriminator]\nwidth = 4\ndownsample = \"average-pool\"\nnorm = \"layer\"\n\
             minibatch_stddev = 2",
            1,
        ),
        (
            "[discriminator]\nwidth = 4\nparametrization = \"spectral-norm\"\n\
             minibatch_discrimination = { kernels = 3, dims = 2 }",
            1,
        ),
        (
            "[condition]\nkind = \"class\"\nsize = 5\ngenerator = \"every-layer\"\n\
             discriminator = \"every-layer\"",
            1,
        ),
        (
            "[condition]\nkind = \"class\"\nsize = 5\nembedding = 3\n\
             discriminator = \"projection\"",
            1,
        ),
        ("[condition]\nkind = \"attributes\"\nsize = 5\ndiscriminator = \"auxiliary\"", 6),
        ("[condition]\nkind = \"vector\"\nsize = 5\n[generator]\nstem = \"linear\"\nwidth = 4", 1),
        (
            "[condition]\nkind = \"class\"\nsize = 5\ngenerator = \"none\"\n\
             discriminator = \"none\"\n[objective]\nsemi_supervised = true",
            5,
        ),
    ] {
        let recipe =
            Recipe::from_toml(&format!("{base}{keys}")).unwrap_or_else(|e| panic!("{keys}: {e}"));
        let (image, logits) = run(&recipe, 4);
        assert_eq!(image.shape()[..], [4, 32, 32, 1], "{keys}");
        assert_eq!(logits.len(), 4 * outputs, "{keys}");
        assert_eq!(Recipe::from_toml(&recipe.to_toml()).expect("its own text"), recipe);
    }
}

#[test]
fn combinations_without_sense_are_refused() {
    let (loss, penalty, r1) = ("objective.loss", "objective.gradient_penalty", "objective.r1");
    let (clip, matching) = ("objective.weight_clip", "objective.feature_matching");
    let (supervised, labels) = ("objective.semi_supervised", "objective.num_labels");
    let discrimination = "discriminator.minibatch_discrimination";
    for (keys, key, value, other) in [
        ("[objective]\nloss = \"wasserstein\"", loss, "\"wasserstein\"", clip),
        ("[objective]\ngradient_penalty = 10.0", penalty, "10", "discriminator.norm"),
        ("[objective]\nr1 = 1.0", r1, "1", "discriminator.norm"),
        ("[objective]\nweight_clip = 0.01", clip, "0.01", loss),
        ("[objective]\nloss = \"hinge\"\n[labels]\nreal = [0.9, 0.9]", loss, "\"hinge\"", "labels"),
        ("[objective]\nsemi_supervised = true", supervised, "true", "condition"),
        (
            "[objective]\nfeature_matching = 1.0\nfeature_layers = [\"main.99\"]",
            "objective.feature_layers",
            "\"main.99\"",
            "discriminator.layers",
        ),
        (
            "[generator]\nnorm = \"none\"\nnorm_everywhere = true",
            "generator.norm_everywhere",
            "true",
            "generator.norm",
        ),
        ("[generator]\nattention = 13", "generator.attention", "13", "image.size"),
        ("[image]\nrange = \"unit\"", "image.range", "\"unit\"", "generator.layers"),
        (
            "[condition]\nkind = \"vector\"\nsize = 3\ndiscriminator = \"auxiliary\"",
            "condition.discriminator",
            "\"auxiliary\"",
            "condition.kind",
        ),
        ("[optimizer]\nmomentum = 0.9", "optimizer.momentum", "0.9", "optimizer.type"),
        (
            "[optimizer]\ntype = \"sgd\"\nmomentum_end = 0.7",
            "optimizer.momentum_end",
            "0.7",
            "optimizer.momentum",
        ),
        (
            "[objective]\nloss = \"wasserstein\"\nrelativistic = true\nweight_clip = 0.01",
            "objective.relativistic",
            "true",
            loss,
        ),
        (
            "[optimizer]\ntype = \"sgd\"\nnesterov = true",
            "optimizer.nesterov",
            "true",
            "optimizer.momentum",
        ),
        (
            "[augment]\nallow = false\npolicy = [\"color\"]",
            "augment.allow",
            "false",
            "augment.policy",
        ),
        (
            "[generator]\nwidth = 3\nlayers = [{ layer = \"linear\", units = 7 }]",
            "generator.width",
            "3",
            "generator.layers",
        ),
        (
            "[objective]\nloss = \"wasserstein\"\nweight_clip = 0.01\n[discriminator]\n\
             parametrization = \"spectral-norm\"",
            clip,
            "0.01",
            "discriminator.parametrization",
        ),
        (
            "[objective]\nr1 = 1.0\ngradient_penalty = 10.0\n[discriminator]\nnorm = \"none\"",
            r1,
            "1",
            penalty,
        ),
        (
            "[discriminator]\nminibatch_stddev = 4\nminibatch_discrimination = { kernels = 3, \
             dims = 2 }",
            "discriminator.minibatch_stddev",
            "4",
            discrimination,
        ),
        (
            "[objective]\nr1 = 1.0\n[discriminator]\nnorm = \"none\"\n\
             minibatch_discrimination = { kernels = 3, dims = 2 }",
            r1,
            "1",
            discrimination,
        ),
        (
            "[objective]\ngradient_penalty = 10.0\n[discriminator]\nnorm = \"layer\"\n\
             minibatch_discrimination = { kernels = 3, dims = 2 }",
            penalty,
            "10",
            discrimination,
        ),
        ("[objective]\nr1_every = 8", "objective.r1_every", "8", r1),
        ("[noise]\ndecay_steps = 100", "noise.decay_steps", "100", "noise.input"),
        ("[objective]\nfeature_norm = \"l1\"", "objective.feature_norm", "\"l1\"", matching),
        (
            "[objective]\nfeature_layers = [\"main.1\"]",
            "objective.feature_layers",
            "[\"main.1\"]",
            matching,
        ),
        (
            "[condition]\nkind = \"class\"\nsize = 3\nembedding = 2\ngenerator = \"none\"\n\
             discriminator = \"projection\"",
            "condition.embedding",
            "2",
            "condition.generator",
        ),
        ("[objective]\nnum_labels = 100", labels, "100", supervised),
        (
            "[objective]\nsemi_supervised = true\nnum_labels = 2\n[condition]\nkind = \"class\"\n\
             size = 3\ngenerator = \"none\"\ndiscriminator = \"none\"",
            labels,
            "2",
            "condition.size",
        ),
        (
            "[objective]\nsemi_supervised = true\nnum_labels = 9\n[condition]\nkind = \"class\"\n\
             size = 3\ndiscriminator = \"none\"",
            labels,
            "9",
            "condition.generator",
        ),
        ("[train]\nalternate = true", "train.separate_batches", "true", "train.resample_z"),
    ] {
        assert_eq!(bad_value(&refusal("small", keys)), (key, value, With(other)), "{keys}");
    }
    // Choices of the other network.
    for (keys, key, value) in [
        ("[discriminator]\nnorm = \"virtual-batch\"", "discriminator.norm", "\"virtual-batch\""),
        (
            "[condition]\nkind = \"class\"\nsize = 3\ngenerator = \"auxiliary\"",
            "condition.generator",
            "\"auxiliary\"",
        ),
    ] {
        assert_eq!(bad_value(&refusal("small", keys)), (key, value, Invalid), "{keys}");
    }
}

#[test]
fn listed_layers_that_do_not_fit_are_refused() {
    for (network, layer, wrong) in [
        ("generator", "{ layer = \"linear\", units = 7 }", LastLayer(&[7], &[28, 28, 1])),
        // It needs an image.
        ("generator", "{ layer = \"conv\", channels = 1, kernel = 3 }", Wrong::Layer),
        // The kernel is larger than the image.
        ("discriminator", "{ layer = \"conv\", channels = 1, kernel = 29 }", Wrong::Layer),
        // It needs a vector.
        ("discriminator", "{ layer = \"linear\", units = 1 }", Wrong::Layer),
    ] {
        let error = refusal("small", &format!("[{network}]\nlayers = [{layer}]"));
        let (key, _, found) = bad_value(&error);
        assert_eq!((key, found), (&*format!("{network}.layers[0]"), wrong), "{layer}");
    }
    let error = refusal("small", "[generator]\nlayers = [{ layer = \"lineal\", units = 7 }]");
    assert_eq!(bad_value(&error), ("generator.layers[0].layer", "\"lineal\"", Invalid));
}

/// Recipes with the layers of both networks listed, of which both, one or none read the condition.
#[test]
fn listed_layers_and_the_place_of_a_condition_go_together() {
    let listed = |g: &str, d: &str| {
        format!(
            "base = \"small\"\n[generator]\nlayers = [{g}{{ layer = \"linear\", units = 784 }}, \
             {{ layer = \"reshape\", shape = [28, 28, 1] }}, {{ layer = \"tanh\" }}]\n\
             [discriminator]\nlayers = [{{ layer = \"flatten\" }}, {d}{{ layer = \"linear\", \
             units = 1 }}]\n[condition]\nkind = \"class\"\nsize = 3\n"
        )
    };
    let read = "{ layer = \"condition\" }, ";
    Recipe::from_toml(&listed(read, read)).expect("both read it");
    Recipe::from_toml(&(listed(read, "") + "discriminator = \"none\"")).expect("G reads it");
    Recipe::from_toml(&(listed("", read) + "generator = \"none\"")).expect("D reads it");
    for (g, d, network, place) in [
        (read, read, "generator", "none"),
        (read, read, "discriminator", "none"),
        (read, read, "discriminator", "auxiliary"),
        ("", read, "generator", "input"),
        ("", read, "generator", "every-layer"),
        (read, "", "discriminator", "input"),
        (read, "", "discriminator", "projection"),
    ] {
        let text = listed(g, d) + &format!("{network} = \"{place}\"");
        let error = Recipe::from_toml(&text).expect_err(&text);
        let (key, value) = (format!("condition.{network}"), format!("\"{place}\""));
        let list = format!("{network}.layers");
        assert_eq!(bad_value(&error), (&*key, &*value, With(&list)), "{text}");
    }
}

#[test]
fn keys_beside_a_list_that_was_there_before_are_refused() {
    let change = |key: &str, value: &str| [(key.to_owned(), value.to_owned())];
    for (name, key, value) in [
        ("gan2014", "discriminator.norm", "layer"),
        ("gan2014", "generator.width", "8"),
        ("tf", "discriminator.minibatch_discrimination", "{ kernels = 3, dims = 2 }"),
        ("newmu-mnist", "generator.dropout", "0.3"),
    ] {
        let error = preset(name).with(&change(key, value)).expect_err(key);
        let (found, _, wrong) = bad_value(&error);
        let list = format!("{}.layers", key.split_once('.').expect("a section").0);
        assert_eq!((found, wrong), (key, With(&list)));
    }
    let error = refusal("gan2014", "[generator]\nkernel = 4\n");
    assert_eq!(bad_value(&error), ("generator.kernel", "4", With("generator.layers")));
    // Without the list they are required again.
    let error = refusal("tf", "[generator]\nlayers = []\nwidth = 8\n");
    assert!(matches!(&error, NnError::MissingKey { key } if key == "generator.stem"), "{error:?}");
}

#[test]
fn keys_change_one_by_one() {
    let changes = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
    };
    let recipe = preset("small").with(&changes(&[
        ("objective.loss", "hinge"),
        ("train.steps", "7"),
        ("discriminator.norm", "none"),
    ]));
    let recipe = recipe.expect("valid");
    assert_eq!(
        (recipe.objective.loss, recipe.train.steps, recipe.train.epochs),
        (nn::loss::GanLoss::Hinge, Some(7), None)
    );
    let error = preset("small").with(&changes(&[("objective.los", "hinge")])).expect_err("unknown");
    assert!(
        matches!(&error, NnError::UnknownKey { key, .. } if key == "objective.los"),
        "{error:?}"
    );
    assert!(preset("paper").with(&changes(&[("augment.policy", "[\"color\"]")])).is_err());
}

#[test]
fn old_recipe_texts_are_read() {
    // The presets as they were at commit 1094c1c.
    for (name, text) in [
        ("paper", include_str!("old_recipes/paper.toml")),
        ("improved", include_str!("old_recipes/improved.toml")),
        ("keras-mnist", include_str!("old_recipes/keras-mnist.toml")),
        ("modern", include_str!("old_recipes/modern.toml")),
        ("newmu-mnist", include_str!("old_recipes/newmu-mnist.toml")),
    ] {
        let mut old = Recipe::from_toml(text).expect(name);
        old.description = preset(name).description;
        assert_eq!(old, preset(name), "{name}");
        // Settings contain the recipe as a part of a larger table.
        let nested: Recipe = toml::from_str(text).expect(name);
        assert_eq!(nested, Recipe::from_toml(text).expect(name), "{name}");
        assert!(!old.to_toml().contains("rule =") && !old.to_toml().contains("fresh_latents"));
    }
}

#[test]
fn old_keys_keep_their_meaning() {
    let recipe = Recipe::from_toml(
        "base = \"small\"\n[objective]\nloss = \"wasserstein\"\nclip = 0.01\n\
         [generator]\nweights = \"weight-norm\"\n[optimizer]\nrule = \"rmsprop\"\n\
         [augment]\nforbidden = true\n\
         [train]\nfirst = \"generator\"\nfresh_latents = true\nalternate = true",
    )
    .expect("the keys of earlier versions");
    assert_eq!(recipe.objective.weight_clip, 0.01);
    assert_eq!(recipe.generator.parametrization, nn::recipe::Parametrization::WeightNorm);
    assert_eq!(recipe.optimizer.kind, nn::recipe::OptimizerType::RmsProp);
    assert!(!recipe.augment.allow);
    assert_eq!(recipe.train.update_order, nn::recipe::UpdateOrder::GFirst);
    assert!(recipe.train.resample_z && recipe.train.separate_batches);
    let both = "base = \"small\"\n[optimizer]\nrule = \"sgd\"\ntype = \"sgd\"";
    let error = Recipe::from_toml(both).expect_err("the same key twice");
    assert!(matches!(error, NnError::UnknownKey { key, .. } if key == "optimizer.rule"));
}

/// The shapes of a preset's networks in a state dict, with other values for some keys.
fn shapes_of(preset: &str, changes: &[(&str, &str)]) -> [nn::recipe::TensorShapes; 2] {
    let changes: Vec<_> = changes.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    let recipe = Recipe::preset(preset).unwrap().with(&changes).unwrap();
    let (g, d) = recipe.build(&mut Philox::new(0, 0)).unwrap();
    [g, d].map(|net| {
        net.state_dict().into_iter().map(|(name, tensor)| (name, tensor.shape)).collect()
    })
}

#[test]
fn a_recipe_is_found_by_the_shapes_of_its_tensors() {
    let sized = |size: &'static str, channels: &'static str| {
        vec![
            ("image.size", size),
            ("image.channels", channels),
            ("generator.width", "4"),
            ("discriminator.width", "6"),
            ("generator.latent", "9"),
        ]
    };
    for (preset, changes, found) in [
        ("torch", vec![], "torch"),
        ("small", vec![], "small"),
        ("torch", sized("[128, 128]", "3"), "torch"),
        ("torch", sized("[64, 64]", "1"), "torch"),
        ("torch", sized("[32, 32]", "3"), "torch"),
        ("torch", sized("[48, 80]", "3"), "torch"),
        ("small", sized("[28, 28]", "1"), "small"),
        ("newmu-svhn", vec![], "newmu-svhn"),
        ("paper", sized("[64, 64]", "3"), "paper"),
        ("gans-in-action", vec![], "gans-in-action"),
        ("gan2014", vec![], "gan2014"),
    ] {
        let [g, d] = shapes_of(preset, &changes);
        let recipe = Recipe::of_state_dicts(&g, Some(&d)).unwrap();
        let wanted: Vec<_> = changes.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let wanted = Recipe::preset(preset).unwrap().with(&wanted).unwrap();
        assert_eq!(recipe.name, found, "{changes:?}");
        assert_eq!(recipe.image.size, wanted.image.size);
        assert_eq!(recipe.image.channels, wanted.image.channels);
        assert_eq!(recipe.generator.latent, wanted.generator.latent);
        let [again_g, again_d] = {
            let (g, d) = recipe.build(&mut Philox::new(0, 0)).unwrap();
            [g, d].map(|net| {
                let tensors = net.state_dict().into_iter();
                tensors.map(|(name, tensor)| (name, tensor.shape)).collect()
            })
        };
        assert_eq!((g, d), (again_g, again_d));
    }
    // Without counts and under a prefix, as DataParallel of an old PyTorch writes it.
    let [g, d] = shapes_of("torch", &sized("[32, 32]", "3"));
    let prefixed = g.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    let prefixed = prefixed.map(|(name, shape)| (format!("module.{name}"), shape.clone()));
    let recipe = Recipe::of_state_dicts(&prefixed.collect(), None).unwrap();
    assert_eq!(recipe.sizes_text(), "torch for 32x32x3, latent 9, width 4");
    // The first tensor that differs from the nearest recipe.
    let mut other = g.clone();
    other.insert("main.6.weight".to_owned(), vec![8, 4, 3, 3]);
    match Recipe::of_state_dicts(&other, None).unwrap_err() {
        NnError::NoRecipe { nearest, difference } => {
            assert_eq!(nearest, "torch for 32x32x3, latent 9, width 4");
            assert!(matches!(*difference, NnError::WrongShape { name, found, .. }
                if name == "main.6.weight" && found == [8, 4, 3, 3]));
        }
        other => panic!("{other}"),
    }
    assert!(Recipe::of_state_dicts(&d, None).is_err(), "a discriminator is no generator");
    assert!(Recipe::of_state_dicts(&Default::default(), None).is_err());
    let huge = [("main.0.weight".to_owned(), vec![usize::MAX; 4]), ("a".to_owned(), vec![0, 0])];
    assert!(Recipe::of_state_dicts(&huge.into(), None).is_err());
}
