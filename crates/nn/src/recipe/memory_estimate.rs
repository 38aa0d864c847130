//! Memory estimate of a training step: what its graph keeps, layer by layer, and what a backward
//! pass needs.

use super::architecture::Architecture;
use super::{NetworkRole, Recipe};
use crate::layers::{LayerPlan, num_elements};

/// A factor for kernel workspaces and temporary gradients, measured over the recipes of
/// `crates/nn/tests/memory.rs`.
const SCRATCH: f64 = 1.15;

/// The size of a network's graph for a batch, in elements.
struct GraphMemory {
    /// All that is kept after the forward pass.
    kept: u64,
    /// The peak during a backward pass, which frees the layers above the current one.
    peak: u64,
}

/// Peak memory of the tensors in a training step of `recipe`, in bytes: parameters with the
/// optimizer state, the gradients of a network, G's graph, and D's on real or on generated images,
/// one after the other.
pub(super) fn bytes_of_step(recipe: &Recipe, g: &Architecture, d: &Architecture) -> u64 {
    let batch = recipe.train.batch as u64;
    let [h, w] = recipe.image.size;
    let pixels = (h * w * recipe.image.channels) as u64;
    let [own_g, own_d] = [g, d].map(|net| u64::try_from(net.parameters()).unwrap_or(u64::MAX));
    let state = recipe.optimizer(NetworkRole::Generator).rule.state_names().len() as u64;
    // D's gradients of real images are kept until those of generated images are computed.
    let persistent = (1 + state) * (own_g + own_d) + own_g.max(2 * own_d);
    let computed = recipe.generator.parametrization.num_computed_weights() * own_g
        + recipe.discriminator.parametrization.num_computed_weights() * own_d;
    let (g, d) = (graph(g), graph(d));
    let graphs = (batch * (pixels + g.peak.max(g.kept + d.peak))) as f64 * SCRATCH;
    4 * (persistent + computed + graphs as u64)
}

fn graph(net: &Architecture) -> GraphMemory {
    let layers: Vec<(&LayerPlan, u64)> =
        net.iter().map(|(_, plan, input)| (plan, num_elements(input) as u64)).collect();
    // An activation is one operation with the layer before it where that has a fused kernel.
    let fused =
        |i: usize| layers[i].0.is_activation && i > 0 && layers[i - 1].0.memory.fuses_activation;
    // A tensor is kept once, however many operations use it. Reshapes share its storage, and a
    // fused pair keeps no tensor in between.
    let mut graph = GraphMemory { kept: 0, peak: 0 };
    let mut wanted = false;
    for (i, &(plan, input)) in layers.iter().enumerate() {
        let memory = if fused(i) { Default::default() } else { plan.memory };
        if !plan.is_reshape && !fused(i) && i > 0 && (wanted || memory.input) {
            graph.kept += input;
        }
        graph.kept += memory.inside;
        let output = num_elements(&plan.output) as u64;
        graph.peak = graph.peak.max(graph.kept + input + output + memory.busy);
        wanted = memory.output || (plan.is_reshape || fused(i)) && wanted;
    }
    if wanted {
        graph.kept += layers.last().map_or(0, |(plan, _)| num_elements(&plan.output) as u64);
    }
    graph.peak = graph.peak.max(graph.kept);
    graph
}
