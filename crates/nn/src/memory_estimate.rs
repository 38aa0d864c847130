//! How much memory a training step takes: what its graph keeps, layer by layer, and what a backward pass needs at a time.

use crate::architecture::{Architecture, Spec};
use crate::recipe::{NetworkRole, Parametrization, Recipe};
use tensor::Activation;

/// What kernels and gradients on the way need besides, as a factor: measured over the recipes of crates/nn/tests/memory.rs.
const SCRATCH: f64 = 1.15;

/// What a layer keeps of a sample for its backward pass, in numbers.
#[derive(Default)]
struct ActivationMemory {
    /// Whether it keeps its input.
    input: bool,
    /// Whether it keeps its result.
    output: bool,
    /// What it keeps besides.
    inside: u64,
    /// What its backward pass has besides the gradients of its input and its result.
    busy: u64,
}

/// What a network's graph takes for a sample, in numbers.
struct GraphMemory {
    /// All that is kept when the forward pass is over.
    kept: u64,
    /// The most at a time in a backward pass, which frees what is above it.
    peak: u64,
}

/// Bytes of tensors at the worst moment of a step of `recipe`: parameters with what the optimiser remembers of them, the gradients of a network,
/// G's graph, and D's on real or on generated images, one after the other.
pub(crate) fn of_step(recipe: &Recipe, g: &Architecture, d: &Architecture) -> u64 {
    let batch = recipe.train.batch as u64;
    let [h, w] = recipe.image.size;
    let pixels = (h * w * recipe.image.channels) as u64;
    let [own_g, own_d] = [(g, recipe.generator.weights), (d, recipe.discriminator.weights)]
        .map(|(made, weights)| parameters(made, weights));
    let remembered = recipe.optimizer(NetworkRole::Generator).rule.state_names().len() as u64;
    // D's gradients of real images wait for those of generated ones.
    let persistent = (1 + remembered) * (own_g + own_d) + own_g.max(2 * own_d);
    let effective = made_anew(recipe.generator.weights) * own_g
        + made_anew(recipe.discriminator.weights) * own_d;
    let (g, d) = (graph(g, batch), graph(d, batch));
    let graphs = (batch * (pixels + g.peak.max(g.kept + d.peak))) as f64 * SCRATCH;
    4 * (persistent + effective + graphs as u64)
}

fn parameters(made: &Architecture, weights: Parametrization) -> u64 {
    made.shapes()
        .map(|(_, spec, ..)| u64::try_from(spec.parameters(weights)).unwrap_or(u64::MAX))
        .sum()
}

/// How many tensors of a weight's size a pass makes of it.
fn made_anew(weights: Parametrization) -> u64 {
    match weights {
        Parametrization::Plain => 0,
        Parametrization::SpectralNorm | Parametrization::WeightNorm => 2,
    }
}

fn graph(made: &Architecture, batch: u64) -> GraphMemory {
    let layers: Vec<_> =
        made.shapes().map(|(_, spec, input, output)| (spec, count(input), count(output))).collect();
    let fused = |i: usize| {
        matches!(layers[i].0, Spec::Activation(_)) && i > 0 && takes_activation(layers[i - 1].0)
    };
    let keeps: Vec<ActivationMemory> = (0..layers.len())
        .map(|i| if fused(i) { ActivationMemory::default() } else { keeps(layers[i], batch) })
        .collect();
    // A tensor is kept once, whoever wants it; reshapes are other names of the same one, and inside a fused pair there is none.
    let mut graph = GraphMemory { kept: 0, peak: 0 };
    let mut wanted = false;
    for (i, (spec, input, output)) in layers.iter().enumerate() {
        let transparent = matches!(spec, Spec::Reshape(_));
        if !transparent && !fused(i) && i > 0 && (wanted || keeps[i].input) {
            graph.kept += input;
        }
        graph.kept += keeps[i].inside;
        graph.peak = graph.peak.max(graph.kept + input + output + keeps[i].busy);
        wanted = keeps[i].output || (transparent || fused(i)) && wanted;
    }
    if wanted {
        graph.kept += layers.last().map_or(0, |(_, _, output)| *output);
    }
    graph.peak = graph.peak.max(graph.kept);
    graph
}

fn count(shape: &[usize]) -> u64 {
    shape.iter().map(|&n| n as u64).product()
}

/// Whether an activation behind the layer is one operation with it.
fn takes_activation(spec: &Spec) -> bool {
    match spec {
        Spec::Linear { bias, .. }
        | Spec::Conv2d { bias, .. }
        | Spec::ConvTranspose2d { bias, .. } => *bias,
        Spec::BatchNorm { .. } | Spec::InstanceNorm { .. } | Spec::VirtualBatchNorm { .. } => true,
        _ => false,
    }
}

fn keeps((spec, input, output): (&Spec, u64, u64), batch: u64) -> ActivationMemory {
    let of_input = ActivationMemory { input: true, ..ActivationMemory::default() };
    match *spec {
        // What the bias is added to.
        Spec::Linear { bias, .. }
        | Spec::Conv2d { bias, .. }
        | Spec::ConvTranspose2d { bias, .. } => {
            ActivationMemory { inside: if bias { output } else { 0 }, ..of_input }
        }
        Spec::BatchNorm { .. } | Spec::Activation(Activation::LeakyRelu(_)) => of_input,
        Spec::Activation(Activation::None) => ActivationMemory::default(),
        Spec::Activation(_) => ActivationMemory { output: true, ..ActivationMemory::default() },
        // Centred and scaled.
        Spec::InstanceNorm { .. } | Spec::LayerNorm { .. } | Spec::VirtualBatchNorm { .. } => {
            ActivationMemory { inside: 2 * input, busy: 2 * input, ..ActivationMemory::default() }
        }
        // The mask.
        Spec::Dropout { .. } => ActivationMemory { inside: input, ..of_input },
        Spec::MinibatchStddev { .. } => {
            ActivationMemory { inside: input, busy: 2 * input, ..ActivationMemory::default() }
        }
        Spec::Attention { channels } => {
            let positions = input / channels as u64;
            let between = positions * positions;
            let narrow = (channels as u64 / 8).max(1);
            ActivationMemory {
                inside: between + positions * 2 * narrow + 2 * input,
                busy: 3 * between,
                ..of_input
            }
        }
        Spec::MinibatchDiscrimination { kernels, dims, .. } => {
            let between = batch * kernels as u64;
            ActivationMemory {
                inside: between + (kernels * dims) as u64,
                busy: between,
                ..of_input
            }
        }
        Spec::Projection { inputs, .. } => ActivationMemory { inside: inputs as u64, ..of_input },
        // Which of them was the largest, at most.
        Spec::Maxout { .. } | Spec::Pool(_) => {
            ActivationMemory { inside: output, ..ActivationMemory::default() }
        }
        Spec::Reshape(_) | Spec::Noise { .. } | Spec::GlobalPool(_) | Spec::Upsample { .. } => {
            ActivationMemory::default()
        }
        Spec::Condition { .. } | Spec::Embed { .. } => ActivationMemory::default(),
    }
}
