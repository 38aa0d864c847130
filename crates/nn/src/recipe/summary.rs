//! Summary of both networks before they are built: layers, parameters and floating-point
//! operations.

use super::architecture::Architecture;
use super::{NetworkRole, Recipe};
use crate::error::NnError;
use crate::layers::LayerPlan;
use std::fmt;

/// One layer of a [`ModelSummary`].
#[derive(Clone, PartialEq, Debug)]
pub struct LayerSummary {
    /// The layer's name, that of its tensors in a state dict.
    pub name: String,
    /// A description of the layer.
    pub kind: String,
    /// The shape of one sample after the layer: `[H, W, C]`, `[units]`, or `[]` for the logit.
    pub output: Vec<usize>,
    /// The number of its trainable parameters.
    pub parameters: usize,
}

/// The layers of both networks and the cost of a training step. Its `Display` is two aligned tables
/// and a summary.
#[derive(Clone, PartialEq, Debug)]
pub struct ModelSummary {
    /// The generator's layers.
    pub generator: Vec<LayerSummary>,
    /// The discriminator's layers.
    pub discriminator: Vec<LayerSummary>,
    /// Length of the latent vector.
    pub latent: usize,
    /// Number of D's outputs per image.
    pub d_outputs: usize,
    /// Height, width and channels of an image.
    pub image: [usize; 3],
    /// Images per step.
    pub batch: usize,
    /// Trainable parameters of both networks.
    pub parameters: usize,
    /// Floating-point operations of a training step (a multiply-add is two), convolutions and
    /// matrix products only: the discriminator on real and on generated images, then the generator
    /// through the discriminator, whose weight gradients are not computed then.
    pub flops_per_step: f64,
}

impl ModelSummary {
    /// The summary of a valid recipe.
    pub(crate) fn new(recipe: &Recipe) -> Result<Self, NnError> {
        let g = Architecture::new(recipe, NetworkRole::Generator)?;
        let d = Architecture::new(recipe, NetworkRole::Discriminator)?;
        let (generator, discriminator) = (layers(&g), layers(&d));
        let parameters = generator.iter().chain(&discriminator).map(|row| row.parameters).sum();
        let [h, w] = recipe.image.size;
        let image = [h, w, recipe.image.channels];
        let batch = recipe.train.batch;
        let multiplications = generator_work(&g) + discriminator_work(&d);
        let flops_per_step = 2.0 * batch as f64 * multiplications;
        let (latent, d_outputs) = (recipe.generator.latent, recipe.num_d_outputs());
        Ok(Self {
            generator,
            discriminator,
            latent,
            d_outputs,
            image,
            batch,
            parameters,
            flops_per_step,
        })
    }
}

fn layers(net: &Architecture) -> Vec<LayerSummary> {
    let summary = |(name, plan): &(String, LayerPlan)| LayerSummary {
        name: name.clone(),
        kind: plan.summary.clone(),
        output: plan.output.clone(),
        // Validation keeps this far below usize::MAX.
        parameters: usize::try_from(plan.parameters).unwrap_or(usize::MAX),
    };
    net.layers.iter().map(summary).collect()
}

/// Multiply-adds per sample of one forward pass, layer by layer; layers without any are left out.
fn work(net: &Architecture) -> Vec<f64> {
    net.layers.iter().map(|(_, plan)| plan.multiplications).filter(|m| *m > 0.0).collect()
}

/// Multiply-adds of a forward pass, its weight gradients, and its input gradients except the first
/// layer's.
fn generator_work(net: &Architecture) -> f64 {
    let work = work(net);
    3.0 * work.iter().sum::<f64>() - work.first().unwrap_or(&0.0)
}

/// Multiply-adds of D in a step: three forward passes, two with both gradients (no input gradient
/// for the first layer), one with the input gradients alone.
fn discriminator_work(net: &Architecture) -> f64 {
    let work = work(net);
    8.0 * work.iter().sum::<f64>() - 2.0 * work.first().unwrap_or(&0.0)
}

impl fmt::Display for ModelSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = shape(&self.image);
        table(
            f,
            &format!("Generator: latent vector {} -> image {image}", self.latent),
            &self.generator,
        )?;
        writeln!(f)?;
        let d_output = match self.d_outputs {
            1 => "one logit (real or generated)".into(),
            n => format!("{n} logits (real or generated, and classes)"),
        };
        table(f, &format!("Discriminator: image {image} -> {d_output}"), &self.discriminator)?;
        write!(
            f,
            "\n{} parameters; a training step on {} images takes {:.1} GFLOP",
            grouped(self.parameters),
            self.batch,
            self.flops_per_step / 1e9
        )
    }
}

fn table(f: &mut fmt::Formatter<'_>, title: &str, rows: &[LayerSummary]) -> fmt::Result {
    let heads = ["layer", "what it does", "output", "parameters"];
    let total: usize = rows.iter().map(|row| row.parameters).sum();
    let count = |n: usize| if n == 0 { "-".to_string() } else { grouped(n) };
    let mut cells = vec![heads.map(String::from)];
    cells.extend(rows.iter().map(|row| {
        [row.name.clone(), row.kind.clone(), shape(&row.output), count(row.parameters)]
    }));
    cells.push(["total".into(), String::new(), String::new(), count(total)]);
    let width =
        |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    writeln!(f, "{title}")?;
    for [name, kind, output, parameters] in &cells {
        let [a, b, c, d] = widths;
        writeln!(f, "  {name:<a$}  {kind:<b$}  {output:>c$}  {parameters:>d$}")?;
    }
    Ok(())
}

fn shape(axes: &[usize]) -> String {
    if axes.is_empty() {
        "1".into()
    } else {
        axes.iter().map(usize::to_string).collect::<Vec<_>>().join("x")
    }
}

/// Formats an integer with thousands separators: 3576704 as 3,576,704.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
