//! Guided backpropagation and logistic regression against PyTorch in float64
//! (xtask/golden/interpret.py); dropping feature maps of a generator.

use eval::interpret::forget::{NegativeSampling, Options, forget};
use eval::interpret::regions::Region;
use eval::interpret::{InspectedGenerator, LogisticRegression, guided_gradient};
use eval::{EvalError, Progress};
use nn::layers::{BatchNorm, Conv2d, Pool2d, PoolKind, Window};
use nn::{Activation, Layer, Network, Recipe, StateDict};
use runs::{Checkpoint, CheckpointMeta, read_state_dict};
use std::collections::BTreeMap;
use std::path::Path;
use tensor::rng::Philox;
use tensor::{Device, HostTensor, Tensor};
use train::{Sampler, latents};

/// Progress reported to nobody.
const SILENT: (&str, Progress<'static>) = ("generating", Progress::SILENT);

fn golden() -> BTreeMap<String, HostTensor> {
    read_state_dict(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/interpret.safetensors"),
    )
    .unwrap()
}

fn floats(array: &HostTensor) -> &[f32] {
    array.as_f32().unwrap()
}

/// max|a − b| / max|b|.
fn error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
    assert!(largest > 0.0);
    found.iter().zip(expected).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs())) / largest
}

fn conv(inputs: usize, outputs: usize, [kernel, stride, pad]: [usize; 3], bias: bool) -> Layer {
    let window = Window { kernel: [kernel; 2], stride: [stride; 2], pad: [[pad; 2]; 2] };
    Layer::from(Conv2d::new(inputs, outputs, window, bias))
}

#[test]
fn guided_gradients_equal_pytorch() {
    let leaky = || Layer::from(Activation::LeakyRelu(0.2));
    let relu = || Layer::from(Activation::Relu);
    let norm = |features| Layer::from(BatchNorm::new(features, 1e-5, 0.1));
    let networks = [
        (
            "leaky",
            vec![
                conv(3, 5, [4, 2, 1], false),
                leaky(),
                conv(5, 6, [4, 2, 1], false),
                norm(6),
                leaky(),
                conv(6, 4, [3, 1, 1], false),
                norm(4),
                leaky(),
            ],
        ),
        (
            "pooled",
            vec![
                conv(3, 5, [3, 1, 1], true),
                relu(),
                Layer::from(Pool2d { kind: PoolKind::Max, kernel: [2; 2], stride: [2; 2] }),
                conv(5, 4, [3, 1, 1], true),
                Layer::from(Activation::Tanh),
                conv(4, 4, [3, 1, 1], true),
                relu(),
            ],
        ),
    ];
    let golden = golden();
    for (name, layers) in networks {
        let last = format!("main.{}", layers.len() - 1);
        let network = Network::new(
            layers.into_iter().enumerate().map(|(i, layer)| (format!("main.{i}"), layer)).collect(),
        );
        let mut state = network.state_dict();
        for (key, value) in
            state.iter_mut().filter(|(key, _)| !key.ends_with("num_batches_tracked"))
        {
            *value = golden[&format!("{name}/state/{key}")].clone();
        }
        network.load_state_dict(&state).unwrap();
        let x = &golden[&format!("{name}/x")];
        let units = golden[&format!("{name}/units")].as_i64().unwrap();
        let units: Vec<[usize; 3]> =
            units.chunks_exact(3).map(|unit| [0, 1, 2].map(|i| unit[i] as usize)).collect();
        let input = Tensor::from_slice(floats(x), &x.shape[..]);
        let found = guided_gradient(&network, &input, None, &last, &units).to_vec();
        let wrong = error(&found, floats(&golden[&format!("{name}/gradient")]));
        assert!(wrong < 1e-5, "{name}: {wrong:e}");
    }
}

#[test]
fn logistic_regression_equals_pytorch() {
    let golden = golden();
    let own = |key: &str| &golden[&format!("logistic/{key}")];
    let labels: Vec<bool> =
        own("truths").as_i64().unwrap().iter().map(|label| *label == 1).collect();
    let width = own("rows").shape[1];
    let fitted = LogisticRegression::fit(
        floats(own("rows")),
        &labels,
        width,
        f64::from(floats(own("c"))[0]),
    );
    let found: Vec<f32> =
        fitted.weights.iter().chain([&fitted.bias]).map(|value| *value as f32).collect();
    let expected = [floats(own("weights")), floats(own("bias"))].concat();
    assert!(error(&found, &expected) < 1e-6, "{found:?} {expected:?}");
    assert!(fitted.accuracy(floats(own("rows")), &labels) > 0.8);
}

fn checkpoint(recipe: &Recipe) -> Checkpoint {
    let (generator, _) = recipe.build(&mut Philox::new(7, 0)).unwrap();
    let state: StateDict = generator.state_dict();
    let tensors = state.into_iter().map(|(name, value)| (format!("g.{name}"), value)).collect();
    Checkpoint {
        meta: CheckpointMeta { recipe: recipe.to_toml(), ..CheckpointMeta::default() },
        tensors,
    }
}

fn recipe(changes: &[(&str, &str)]) -> Recipe {
    let changes: Vec<(String, String)> =
        changes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Recipe::preset("torch").unwrap().with(&changes).unwrap()
}

const TINY: [(&str, &str); 2] = [("image.size", "[32, 32]"), ("generator.width", "4")];

#[test]
fn map_layers_are_behind_weights() {
    let layers = |recipe: &Recipe| -> Vec<[usize; 3]> {
        let generator = InspectedGenerator::new(&checkpoint(recipe), None, &Device::Cpu).unwrap();
        generator.layers().iter().map(|layer| layer.shape).collect()
    };
    let maps = [[4, 4, 16], [8, 8, 8], [16, 16, 4]];
    assert_eq!(layers(&recipe(&TINY)), maps);
    for more in [
        ("generator.stem", "\"linear\""),
        ("generator.upsample", "\"nearest\""),
        ("generator.attention", "8"),
    ] {
        assert_eq!(
            layers(&recipe(&[TINY[0], ("generator.width", "8"), more])),
            maps.map(|[h, w, k]| [h, w, 2 * k]),
            "{more:?}"
        );
    }
    let chosen = |layer| InspectedGenerator::new(&checkpoint(&recipe(&TINY)), layer, &Device::Cpu);
    assert_eq!(chosen(None).unwrap().layer().shape, [8, 8, 8]);
    assert_eq!(chosen(Some("main.2")).unwrap().layer().shape, [4, 4, 16]);
    let error = chosen(Some("main.0")).err().unwrap();
    assert!(
        matches!(&error, EvalError::UnknownLayer { name, known } if name == "main.0"
            && known[1] == "main.5 (8 maps of 8x8)"),
        "{error}"
    );
}

#[test]
fn images_with_all_maps_equal_those_of_the_sampler() {
    // Statistics of a reference batch, and a condition.
    let more = [
        ("generator.norm", "\"virtual-batch\""),
        ("condition", "{ kind = \"class\", size = 3, generator = \"every-layer\" }"),
    ];
    for recipe in [recipe(&TINY), recipe(&[&TINY[..], &more].concat())] {
        let checkpoint = checkpoint(&recipe);
        let z = latents(&recipe, 1, 70);
        let condition = recipe.condition.as_ref().map(|_| recipe.example_conditions(70));
        let sampler = Sampler::new(&checkpoint, None, &Device::Cpu).unwrap();
        let expected = sampler.sample(&z, condition.as_ref(), 64, |_| ()).unwrap();
        let generator = InspectedGenerator::new(&checkpoint, None, &Device::Cpu).unwrap();
        let images = generator.generate(&z, condition.as_ref(), &[], SILENT).unwrap();
        assert!(error(&images.to_vec(), &expected.to_vec()) < 1e-5);
        // Without any map of the layer, images do not depend on z.
        let all: Vec<usize> = (0..generator.layer().shape[2]).collect();
        let blank = generator.generate(&z, condition.as_ref(), &all, SILENT).unwrap().to_vec();
        let size = blank.len() / 70;
        assert_eq!(blank[..size], blank[3 * size..4 * size]);
        assert_ne!(images.to_vec()[..size], images.to_vec()[3 * size..4 * size]);
    }
}

/// A generator that paints a bright square of 2×2 pixels wherever a value of z is above 0.4: map 0
/// is positive there, the three others elsewhere.
fn squares() -> Checkpoint {
    let layers = [
        "{ layer = \"linear\", units = 64, bias = true }",
        "{ layer = \"reshape\", shape = [4, 4, 4] }",
        "{ layer = \"relu\" }",
        "{ layer = \"conv-transpose\", channels = 0, kernel = 2, stride = 2, pad = 0, bias = \
         false }",
        "{ layer = \"tanh\" }",
    ];
    let layers = format!("[{}]", layers.join(", "));
    let changes = [
        ("image.size", "[8, 8]"),
        ("image.channels", "1"),
        ("generator.latent", "16"),
        ("generator.distribution", "\"uniform\""),
    ];
    let mut made =
        checkpoint(&recipe(&[&changes[..], &[("generator.layers", layers.as_str())]].concat()));
    let object = |unit: usize| unit < 16;
    let weight = (0..64 * 16).map(|at| match (at / 16, at % 16) {
        (unit, z) if unit % 16 != z => 0.0,
        (unit, _) if object(unit) => 1.0,
        _ => -0.5,
    });
    let bias = (0..64).map(|unit| if object(unit) { -0.4 } else { 0.5 });
    let paint = (0..16).map(|at| if at < 4 { 4.0 } else { -0.3 });
    for (name, shape, values) in [
        ("g.main.0.weight", vec![64, 16], weight.collect()),
        ("g.main.0.bias", vec![64], bias.collect()),
        ("g.main.3.weight", vec![4, 1, 2, 2], paint.collect::<Vec<f32>>()),
    ] {
        let old = made.tensors.insert(name.into(), HostTensor::f32(shape.clone(), values));
        assert_eq!(old.map(|array| array.shape), Some(shape), "{name}");
    }
    made
}

#[test]
fn objects_are_forgotten() {
    let generator = InspectedGenerator::new(&squares(), None, &Device::Cpu).unwrap();
    assert_eq!(generator.layer().shape, [4, 4, 4]);
    let z = latents(generator.recipe(), 2, 100);
    let values = z.to_vec();
    let cell = |at: usize| [2.0 * at as f64, 2.0 * (at + 1) as f64];
    let marked = (0..40 * 16).filter(|&i| values[i] > 0.5);
    let regions: Vec<Region> =
        marked.map(|i| Region { sample: i / 16, x: cell(i % 4), y: cell(i % 16 / 4) }).collect();
    let scorer = |images: &Tensor| {
        let brightest = |image: &[f32]| image.iter().copied().fold(-1.0, f32::max);
        Ok(images
            .to_vec()
            .chunks_exact(64)
            .map(|image| f32::from(u8::from(brightest(image) > 0.3)))
            .collect())
    };
    let found = |negatives| {
        let options = Options { negatives, c: 1.0, controls: 8, seed: 0 };
        forget(&generator, (&z, None), &regions, options, Some(&scorer), Progress::SILENT)
    };
    let forgotten = found(NegativeSampling::SameImages).unwrap();
    assert_eq!(forgotten.dropped, [0]);
    assert_eq!(forgotten.positions, [regions.len(); 2]);
    assert!(forgotten.accuracy > 0.9, "{}", forgotten.accuracy);
    let rates = forgotten.rates.clone().unwrap();
    assert!(rates.before > 0.9 && rates.after == 0.0, "{rates:?}");
    // Without another map the squares are still there.
    assert!(
        rates.controls.len() == 8 && rates.controls.iter().any(|rate| *rate >= rates.before),
        "{rates:?}"
    );
    let [inside, outside] = forgotten.effects[0].change;
    assert!(
        inside > 10.0 * outside && forgotten.effects[0].contrast[0] < 0.4,
        "{:?}",
        forgotten.effects
    );
    assert_eq!(
        forgotten.images[1].to_vec(),
        generator.generate(&z, None, &[0], SILENT).unwrap().to_vec()
    );
    let again = found(NegativeSampling::SameImages).unwrap();
    assert_eq!(
        (again.dropped, again.effects, again.rates),
        (forgotten.dropped, forgotten.effects, forgotten.rates)
    );
    // Nearly all images have a square somewhere, but not at the same position.
    match found(NegativeSampling::OtherImages) {
        Ok(others) => assert_eq!(others.dropped, [0]),
        Err(error) => assert!(matches!(error, EvalError::NoNegativeImages), "{error}"),
    }
}
