//! The page of `html_page` in a headless Chromium: its images and latents against the CPU's, both
//! engines, and what its controls do. Where there is no Chromium the tests report themselves as
//! ignored; with `DCGAN_REQUIRE_BROWSER=1` that is a failure.

mod chromium;

use chromium::{Chromium, Page, program};
use nn::Recipe;
use nn::layers::Parametrization;
use runs::{Checkpoint, CheckpointMeta, GridOptions, grid};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;
use tensor::rng::Philox;
use tensor::{Device, Tensor, TensorData};
use train::{Sampler, WeightPrecision, html_page, latents, truncate};

const DESKTOP: [u32; 2] = [1280, 900];
const PHONE: [u32; 2] = [390, 844];
/// A promise that is kept once the page has, or has not, taken WebGPU.
const GPU: &str = "(async () => { while (!studio.gpu) await new Promise((done) => \
                   setTimeout(done, 20)); await studio.gpu; })()";

fn main() {
    chromium::run_tests([
        ("all_recipes_draw_the_cpus_images", all_recipes_draw_the_cpus_images),
        ("all_layers_draw_the_cpus_images", all_layers_draw_the_cpus_images),
        ("webgpu_draws_the_cpus_images", webgpu_draws_the_cpus_images),
        ("half_precision_is_within_a_gray_level", half_precision_is_within_a_gray_level),
        ("a_seed_has_the_programs_latents", a_seed_has_the_programs_latents),
        ("the_controls_draw", the_controls_draw),
        ("a_phone_has_no_horizontal_scrolling", a_phone_has_no_horizontal_scrolling),
    ]);
}

fn start(webgpu: bool) -> Chromium {
    Chromium::start(&program().unwrap(), webgpu).unwrap()
}

/// A checkpoint of a generator whose values are random, so that all layers matter.
fn checkpoint(recipe: &Recipe) -> Checkpoint {
    let mut rng = Philox::new(9, 0);
    let (generator, _) = recipe.build(&mut rng).unwrap();
    let mut state = generator.state_dict();
    let is_normalized = recipe.generator.parametrization != Parametrization::Plain;
    for (name, tensor) in &mut state {
        let shape = tensor.shape.clone();
        let count: usize = shape.iter().product();
        let kind = name.rsplit('.').next().unwrap();
        let mut draw =
            |low: f32, high: f32| TensorData::F32(rng.uniform([count], low, high).to_vec());
        tensor.data = match (&tensor.data, kind) {
            (TensorData::I64(_), _) => TensorData::I64(vec![1]),
            (_, "running_var" | "gamma") => draw(0.5, 1.5),
            (_, "running_mean" | "bias") => draw(-0.2, 0.2),
            // Normalized weights are small, and signals would vanish.
            (_, "weight") if shape.len() == 1 && is_normalized => draw(2.0, 3.0),
            (_, "weight") if shape.len() == 1 => draw(0.7, 1.3),
            (_, "weight") => {
                // Signals keep their scale, about; they do not grow, nor do the rounding errors of
                // the CPU's Winograd convolutions.
                let inputs = count / shape[if shape.len() == 4 { 1 } else { 0 }];
                let bound = (4.0 / inputs.max(1) as f32).sqrt();
                draw(-bound, bound)
            }
            _ => continue,
        };
    }
    let tensors = state.into_iter().map(|(name, value)| (format!("g.{name}"), value)).collect();
    let meta = CheckpointMeta {
        recipe: recipe.to_toml(),
        recipe_name: recipe.name.clone(),
        ..CheckpointMeta::default()
    };
    Checkpoint { meta, tensors }
}

/// A page in a file.
struct HtmlFile {
    _folder: TempDir,
    path: PathBuf,
}

impl HtmlFile {
    fn new(checkpoint: &Checkpoint, model: Option<&str>, precision: WeightPrecision) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.html");
        std::fs::write(&path, html_page(checkpoint, model, precision).unwrap()).unwrap();
        Self { _folder: folder, path }
    }

    /// Opens it, and waits until its script has run; `engine` is `javascript` or `webgpu`.
    fn open(&self, browser: &mut Chromium, hash: &str, sides: [u32; 2]) -> Page {
        let url = format!("file://{}#{hash}", self.path.display());
        let page = browser.open(&url, sides);
        browser.wait_for_script(&page);
        page
    }
}

/// `count` rows of conditions: weights of all elements, so that each matters.
fn conditions(recipe: &Recipe, count: usize) -> Option<Tensor> {
    let condition = train::generator_condition(recipe)?;
    Some(Philox::new(3, 0).uniform([count, condition.size], 0.0, 1.0))
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn list(values: &[f32]) -> String {
    serde_json::to_string(values).unwrap()
}

/// Draws images in the page at once, whatever engine it has, instead of those of its grid.
fn draw(
    browser: &mut Chromium,
    page: &Page,
    latents: &Tensor,
    conditions: Option<&Tensor>,
) -> Vec<f32> {
    let count = latents.shape()[0];
    let job = |i: usize| {
        let row = |tensor: &Tensor| list(&tensor.narrow(0, i, 1).to_vec());
        let condition =
            conditions.map_or("null".into(), |rows| format!("Float32Array.from({})", row(rows)));
        format!("studio.draw(Float32Array.from({}), {condition})", row(latents))
    };
    let jobs: Vec<String> = (0..count).map(job).collect();
    let expression = format!(
        "(tiles.forEach((tile) => (tile.job.cancelled = true)), Promise.all([{}])).then((images) => images.flatMap((image) => [...image]))",
        jobs.join(",")
    );
    floats(&browser.evaluate(page, &expression))
}

/// The largest difference of the page's images from the CPU's.
fn difference(browser: &mut Chromium, page: &Page, checkpoint: &Checkpoint, count: usize) -> f32 {
    let sampler = Sampler::new(checkpoint, None, &Device::Cpu).unwrap();
    let z = latents(sampler.recipe(), 7, count);
    let condition = conditions(sampler.recipe(), count);
    let wanted = sampler.sample(&z, condition.as_ref(), count, |_| ()).unwrap().to_vec();
    let mean = wanted.iter().sum::<f32>() / wanted.len() as f32;
    let variance =
        wanted.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / wanted.len() as f32;
    assert!(variance > 1e-5, "the images are flat: {variance}");
    let drawn = draw(browser, page, &z, condition.as_ref());
    assert_eq!(drawn.len(), wanted.len());
    drawn.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A preset that is as narrow as its keys allow.
fn narrow(name: &str) -> Recipe {
    let mut recipe = Recipe::preset(name).unwrap();
    (recipe.generator.width, recipe.discriminator.width) = (8, 8);
    if let Some(condition) = &mut recipe.condition
        && condition.size == 0
    {
        condition.size = 4;
    }
    recipe
}

fn all_recipes_draw_the_cpus_images() {
    let mut browser = start(false);
    for name in Recipe::names() {
        let recipe = narrow(name);
        let checkpoint = checkpoint(&recipe);
        let file = HtmlFile::new(&checkpoint, None, WeightPrecision::F32);
        let page = file.open(&mut browser, "engine=javascript", DESKTOP);
        let most = difference(&mut browser, &page, &checkpoint, 2);
        eprintln!("{name}: {most:e}");
        assert!(most <= 1e-5, "{name}: {most:e}");
    }
}

/// The operations that no preset's generator has.
fn mixtures() -> Vec<Recipe> {
    let texts = [
        r#"
        base = "small"
        [image]
        size = [16, 16]
        channels = 3
        range = "unit"
        [condition]
        kind = "attributes"
        size = 3
        names = ["round", "red", "</script>"]
        embedding = 5
        [generator]
        latent = 13
        distribution = "uniform"
        layers = [
            { layer = "condition" },
            { layer = "linear", units = 256 },
            { layer = "layer-norm" },
            { layer = "maxout", pieces = 2 },
            { layer = "reshape", shape = [4, 4, 8] },
            { layer = "instance-norm" },
            { layer = "attention" },
            { layer = "condition" },
            { layer = "upsample", scale = 3 },
            { layer = "conv", channels = 12, kernel = [3, 5], pad = [[1, 0], [2, 1]] },
            { layer = "leaky-relu", slope = 0.2 },
            { layer = "layer-norm" },
            { layer = "conv-transpose", channels = 7, kernel = 4, stride = 3, pad = [[1, 0], [0, 2]], output_padding = 2 },
            { layer = "max-pool", size = 2 },
            { layer = "dropout", p = 0.5 },
            { layer = "noise", std = 0.5 },
            { layer = "conv", channels = 6, kernel = 2 },
            { layer = "relu" },
            { layer = "batch-norm" },
            { layer = "conv", channels = 0, kernel = 3, pad = 1 },
            { layer = "sigmoid" },
        ]"#,
        r#"
        base = "small"
        [image]
        size = [16, 16]
        channels = 4
        [generator]
        layers = [
            { layer = "linear", units = 300 },
            { layer = "tanh" },
            { layer = "reshape", shape = [10, 10, 3] },
            { layer = "conv", channels = 8, kernel = 3, stride = 2, pad = "same" },
            { layer = "average-pool", size = 2 },
            { layer = "global-sum" },
            { layer = "linear", units = 64 },
            { layer = "reshape", shape = [4, 4, 4] },
            { layer = "global-average" },
            { layer = "linear", units = 256 },
            { layer = "reshape", shape = [8, 8, 4] },
            { layer = "flatten" },
            { layer = "reshape", shape = [8, 8, 4] },
            { layer = "conv-transpose", channels = 0, kernel = 4, stride = 2, pad = 1 },
            { layer = "tanh" },
        ]"#,
        "base = \"small\"\n[generator]\nnorm = \"virtual-batch\"\nreference = 8\nwidth = 8",
        "base = \"torch\"\n[generator]\nparametrization = \"weight-norm\"\nwidth = 8",
        "base = \"torch\"\n[generator]\nparametrization = \"spectral-norm\"\nwidth = 8\n\
         attention = 32",
    ];
    texts.map(|text| Recipe::from_toml(text).unwrap()).into()
}

fn all_layers_draw_the_cpus_images() {
    let mut browser = start(false);
    for (i, recipe) in mixtures().iter().enumerate() {
        let checkpoint = checkpoint(recipe);
        let file = HtmlFile::new(&checkpoint, None, WeightPrecision::F32);
        let page = file.open(&mut browser, "engine=javascript", DESKTOP);
        let most = difference(&mut browser, &page, &checkpoint, 2);
        eprintln!("mixture {i}: {most:e}");
        assert!(most <= 1e-5, "mixture {i}: {most:e}");
    }
}

fn webgpu_draws_the_cpus_images() {
    let mut browser = start(true);
    // SwiftShader takes a second to compile a kernel, so these are few.
    let [first, .., virtual_batch_norm, _, _] = <[Recipe; 5]>::try_from(mixtures()).ok().unwrap();
    let recipes = [narrow("torch"), first, virtual_batch_norm].into_iter();
    for (i, recipe) in recipes.enumerate() {
        let checkpoint = checkpoint(&recipe);
        let file = HtmlFile::new(&checkpoint, None, WeightPrecision::F32);
        let page = file.open(&mut browser, "engine=webgpu", DESKTOP);
        let engine =
            browser.evaluate(&page, &format!("{GPU}.then(() => studio.engine + studio.note)"));
        assert_eq!(engine, "WebGPU", "network {i}");
        for count in [1, 16] {
            let most = difference(&mut browser, &page, &checkpoint, count);
            eprintln!("network {i}, {count} images: {most:e}");
            assert!(most <= 1e-5, "network {i}, {count} images: {most:e}");
        }
    }
    // A software renderer is not taken unasked, and the page says so.
    let checkpoint = runs::builtin_models::MODELS[0].checkpoint().unwrap();
    let file = HtmlFile::new(&checkpoint, Some("fashion"), WeightPrecision::F16);
    let page = file.open(&mut browser, "", DESKTOP);
    let expression = format!("{GPU}.then(() => [studio.engine, studio.note])");
    let engine = browser.evaluate(&page, &expression);
    assert_eq!(engine[0], "JavaScript");
    assert_eq!(engine[1], "Not by WebGPU: the GPU is a software renderer");
    // Nor is a browser without WebGPU a problem.
    let mut browser = start(false);
    let page = file.open(&mut browser, "engine=webgpu", DESKTOP);
    let engine = browser.evaluate(&page, &expression);
    assert_eq!(engine[0], "JavaScript");
    assert!(engine[1].as_str().unwrap().contains("WebGPU"), "{engine}");
}

/// The bytes of images in the program's PNG files.
fn bytes(images: &Tensor) -> Vec<u8> {
    let [n, h, w, c] = images.shape()[..] else { panic!("{:?}", images.shape()) };
    let options = GridOptions { columns: 1, padding: 0, scale: 1, background: 0 };
    grid::grid(&images.to_vec(), [n, h, w, c], options).unwrap().into_bytes()
}

/// The pixels of a canvas, as many channels as the images have.
fn pixels(browser: &mut Chromium, page: &Page, canvas: &str, channels: usize) -> Vec<u8> {
    let expression = format!(
        "[...{canvas}.getContext('2d').getImageData(0, 0, WIDTH, HEIGHT).data]\
         .filter((_, i) => i % 4 < {channels})"
    );
    let values = browser.evaluate(page, &expression);
    values.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as u8).collect()
}

fn half_precision_is_within_a_gray_level() {
    let mut browser = start(true);
    for (model, limit) in runs::builtin_models::MODELS.iter().zip([1_500_000, 3_000_000]) {
        let checkpoint = model.checkpoint().unwrap();
        let file = HtmlFile::new(&checkpoint, Some(model.name), WeightPrecision::F16);
        let size = file.path.metadata().unwrap().len();
        eprintln!("{}: {size} bytes", model.name);
        assert!(size <= limit, "{}: {size} bytes", model.name);
        let sampler = Sampler::new(&checkpoint, None, &Device::Cpu).unwrap();
        let recipe = sampler.recipe();
        let z = latents(recipe, 7, 16);
        let condition = recipe.g_conditional().then(|| recipe.example_conditions(16));
        let wanted = bytes(&sampler.sample(&z, condition.as_ref(), 16, |_| ()).unwrap());
        for engine in ["javascript", "webgpu"] {
            let page = file.open(&mut browser, &format!("engine={engine}"), DESKTOP);
            if engine == "webgpu" {
                let taken = browser.evaluate(&page, &format!("{GPU}.then(() => studio.engine)"));
                assert_eq!(taken, "WebGPU");
            }
            let drawn = draw(&mut browser, &page, &z, condition.as_ref());
            let [h, w, c] = sampler.shape();
            let drawn = bytes(&Tensor::from_slice(&drawn, [16, h, w, c]));
            let most = drawn.iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(drawn.len() == wanted.len() && most <= 1, "{}: {most} of 255", model.name);
        }
    }
}

fn a_seed_has_the_programs_latents() {
    let mut browser = start(false);
    let emoji = &runs::builtin_models::MODELS[1];
    let checkpoint = emoji.checkpoint().unwrap();
    let file = HtmlFile::new(&checkpoint, Some("emoji"), WeightPrecision::F32);
    let page = file.open(&mut browser, "engine=javascript", DESKTOP);
    let mut recipe = Recipe::from_toml(&checkpoint.meta.recipe).unwrap();
    for distribution in ["normal", "uniform"] {
        for latent in [64, 13] {
            for seed in [0, 42, u64::MAX] {
                recipe.generator.latent = latent;
                recipe.generator.distribution =
                    serde_json::from_value(distribution.into()).unwrap();
                let wanted = latents(&recipe, seed, 9);
                let network =
                    format!("{{ ...network, latent: {latent}, distribution: '{distribution}' }}");
                let row = |psi: &str| {
                    format!(
                        "Array.from({{ length: 9 }}, (_, i) => {psi}(latentOf({network}, {seed}n, \
                         i))).flatMap((row) => [...row])"
                    )
                };
                let drawn = floats(&browser.evaluate(&page, &row("")));
                assert!(
                    drawn
                        .iter()
                        .zip(wanted.to_vec())
                        .all(|(a, b)| a.to_bits() == b.to_bits() || (*a == 0.0 && b == 0.0)),
                    "{distribution}, {latent}, {seed}"
                );
                for psi in [0.3, 1.0, 2.0] {
                    let wanted = truncate(&recipe, &wanted, psi).to_vec();
                    let function = format!("((z) => truncated({network}, z, {psi}))");
                    let drawn = floats(&browser.evaluate(&page, &row(&function)));
                    let most =
                        drawn.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most <= 2e-7, "{distribution}, {latent}, {seed}, {psi}: {most:e}");
                }
            }
        }
    }
    // A seed that is typed in gives the images of `dcgan sample --seed`.
    let sampler = Sampler::new(&checkpoint, None, &Device::Cpu).unwrap();
    browser.evaluate(&page, "dcgan.ready");
    let typed = "(byId('seed').value = '4294967299', byId('seed').dispatchEvent(new \
                 Event('change')), refresh())";
    browser.evaluate(&page, typed);
    let wanted = sampler.sample(&latents(sampler.recipe(), 4_294_967_299, 3), None, 3, |_| ());
    let wanted = bytes(&wanted.unwrap().narrow(0, 2, 1));
    let shown = pixels(&mut browser, &page, "tiles[2].canvas", 3);
    let most = shown.iter().zip(&wanted).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    // A value at the edge between two gray levels may be rounded to either.
    assert!(shown.len() == wanted.len() && most <= 1, "{most}");
    let hash = browser.evaluate(&page, "location.hash");
    assert!(hash.as_str().unwrap().contains("seed=4294967299"), "{hash}");
    browser.evaluate(&page, "(byId('seed').value = '-1', readSeed())");
    assert_eq!(browser.evaluate(&page, "byId('seed-problem').hidden"), false);
    assert_eq!(browser.evaluate(&page, "String(state.seed)"), "4294967299");
}

fn the_controls_draw() {
    let mut browser = start(false);
    let checkpoint = runs::builtin_models::MODELS[0].checkpoint().unwrap();
    let file = HtmlFile::new(&checkpoint, Some("fashion"), WeightPrecision::F16);
    let page = file.open(&mut browser, "seed=5&class=3", DESKTOP);
    browser.evaluate(
        &page,
        "(window.problems = [], addEventListener('error', (e) => problems.push(e.message)), \
         addEventListener('unhandledrejection', (e) => problems.push(String(e.reason))), \
         dcgan.ready)",
    );
    let mut value = |expression: &str| browser.evaluate(&page, expression);
    assert_eq!(value("byId('problem').hidden"), true);
    assert_eq!(value("byId('seed').value"), "5");
    assert_eq!(value("tiles[0].item.label"), "image 0 of seed 5, Dress");
    let command = value("byId('command').textContent");
    assert!(
        command
            .as_str()
            .unwrap()
            .contains("dcgan sample --model fashion --seed 5 --count 1 --class Dress --out images"),
        "{command}"
    );
    let shown = |name: &str| format!("{name}.canvas.toDataURL()");
    let all = value(
        "tiles.map((tile) => tile.canvas.toDataURL()).filter((a, i, all) => \
                     all.indexOf(a) === i).length === tiles.length",
    );
    assert_eq!(all, true, "all images differ");
    // A class, then all of them, a row each.
    value("(document.querySelectorAll('.chip input')[2].click(), refresh())");
    assert_eq!(value("tiles[1].item.label"), "image 1 of seed 5, Trouser");
    value("(document.querySelectorAll('.chip input')[0].click(), refresh())");
    assert_eq!(value("document.querySelectorAll('#grid h3').length"), 10);
    // Truncation.
    let before = value(&shown("tiles[0]"));
    value(
        "(byId('truncation').value = 0.5, byId('truncation').dispatchEvent(new Event('input')), \
           refresh())",
    );
    assert_ne!(value(&shown("tiles[0]")), before);
    assert_eq!(value("Math.max(...tiles[0].item.latent.map(Math.abs)) <= 0.5"), true);
    // The keyboard: move, select, put, and ask for more.
    value("tiles[0].element.focus()");
    let sum = value(&shown("sum"));
    for key in ["ArrowRight", "ArrowDown", "b"] {
        browser.press(&page, key);
    }
    let mut value = |expression: &str| browser.evaluate(&page, expression);
    let columns = value("layOut().columns").as_u64().unwrap();
    assert_eq!(
        value("tiles.findIndex((tile) => tile.element === document.activeElement)"),
        columns + 1
    );
    assert_eq!(value("state.selected === slots.b.item"), true);
    value("showSum()");
    assert_ne!(value(&shown("sum")), sum);
    let between = value(&shown("halfway"));
    value("(byId('position').value = 1, showBetween())");
    assert_ne!(value(&shown("halfway")), between);
    value("slots.to.show(slots.to.item)");
    assert_eq!(value(&format!("{} === {}", shown("halfway"), shown("slots.to"))), true);
    browser.press(&page, "m");
    let mut value = |expression: &str| browser.evaluate(&page, expression);
    value("refresh()");
    assert_eq!(value("state.near === state.selected && tiles[0].item === state.near"), true);
    // Dragging.
    value(
        "((data) => { for (const [type, element] of [['dragstart', tiles[3].element], \
         ['dragover', slots.a.element], ['drop', slots.a.element]]) element.dispatchEvent(new \
         DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true })); })(new \
         DataTransfer())",
    );
    assert_eq!(value("slots.a.item === tiles[3].item"), true);
    // A saved image has the pixels of the canvas and the program's signature.
    let png = value(
        "pngOf(preview.canvas).then((png) => png.arrayBuffer())\
                     .then((bytes) => [...new Uint8Array(bytes)])",
    );
    let png: Vec<u8> = serde_json::from_value(png).unwrap();
    assert!(imaging::is_signed(&png));
    let saved = image::load_from_memory(&png).unwrap().into_rgba8().into_raw();
    assert_eq!(saved, pixels(&mut browser, &page, "preview.canvas", 4));
    let mut value = |expression: &str| browser.evaluate(&page, expression);
    // The walk moves all images, and stops.
    let before = value(&shown("tiles[1]"));
    value("byId('walk').click()");
    value("new Promise((done) => setTimeout(done, 700))");
    assert_eq!(value("state.walking"), true);
    value("byId('walk').click()");
    assert_ne!(value(&shown("tiles[1]")), before);
    assert_eq!(value("byId('walk').getAttribute('aria-pressed')"), "false");
    // Workers draw, so that the page stays responsive, and it loads nothing.
    assert_eq!(value("studio.painters.every((painter) => painter.worker instanceof Worker)"), true);
    let loaded = value(
        "performance.getEntriesByType('resource').map((e) => e.name)\
                        .filter((name) => !name.startsWith('blob:'))",
    );
    assert_eq!(loaded, serde_json::json!([]));
    let unnamed = value(
        "[...document.querySelectorAll('button, input')].filter((e) => \
                         !e.textContent.trim() && !e.getAttribute('aria-label') && \
                         !e.labels?.length).length",
    );
    assert_eq!(unnamed, 0, "every control has a name");
    assert_eq!(value("problems"), serde_json::json!([]));
}

fn a_phone_has_no_horizontal_scrolling() {
    let mut browser = start(false);
    let recipe = &mixtures()[0];
    let fashion = runs::builtin_models::MODELS[0].checkpoint().unwrap();
    for (checkpoint, model) in [(fashion, Some("fashion")), (checkpoint(recipe), None)] {
        let file = HtmlFile::new(&checkpoint, model, WeightPrecision::F16);
        let page = file.open(&mut browser, "engine=javascript", PHONE);
        browser.evaluate(&page, "dcgan.ready");
        let wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(browser.evaluate(&page, wider), false, "{model:?}");
        let small = "[...document.querySelectorAll('.tile')].filter((tile) => \
                     tile.getBoundingClientRect().width < 44).length";
        assert_eq!(browser.evaluate(&page, small), 0);
    }
}
