//! What all that looks at discriminators shares.

use crate::images::evenly_spaced;
use crate::{EvalError, Progress};
use data::Dataset;
use nn::{Layer, Network, Recipe};
use runs::Checkpoint;
use tensor::{Device, Tensor};

/// Statistics of batch norm are the mean over this many batches of this many pictures.
const CALIBRATION: [usize; 2] = [16, 128];

/// The discriminator of a checkpoint of training, and whether it can judge by running statistics.
///
/// # Errors
/// A checkpoint of a generator alone, or weights that are not the recipe's.
pub fn trained(
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<(Recipe, Network, bool), EvalError> {
    train::load_discriminator(checkpoint, device)?.ok_or_else(|| {
        let text = "the checkpoint holds a generator alone: give one of training, which has a discriminator";
        EvalError::Mismatch(text.into())
    })
}

/// Replaces running statistics by the mean over batches of pictures that are spread evenly over the set; `input` is what the network is given
/// for pictures of these numbers, and what it is told. Networks without batch norm stay as they are.
///
/// # Errors
/// What `input` meets, a set of a single picture, or the user stops it.
pub fn recalibrate(
    network: &Network,
    dataset: &Dataset,
    input: impl Fn(&[usize]) -> Result<(Tensor, Option<Tensor>), EvalError>,
    progress: Progress<'_>,
) -> Result<(), EvalError> {
    if !network.layers().iter().any(|(_, layer)| matches!(layer, Layer::BatchNorm(_))) {
        return Ok(());
    }
    let [batches, size] = CALIBRATION;
    let chosen = evenly_spaced(dataset.len(), batches * size);
    if chosen.len() < 2 {
        let name = dataset.name();
        return Err(EvalError::Mismatch(format!(
            "{name} has {} picture: batch norm needs at least 2",
            dataset.len()
        )));
    }
    let count = chosen.len().div_ceil(size);
    let mut inputs = Vec::with_capacity(count);
    for k in 0..count {
        // Parts of nearly equal length, each with pictures of the whole set.
        let part: Vec<usize> = chosen.iter().skip(k).step_by(count).copied().collect();
        inputs.push(input(&part)?);
        progress.report("normalising", k + 1, count)?;
    }
    network.recalibrate_bn_with_condition(inputs);
    Ok(())
}

/// The activation behind each convolution, from the picture on; a convolution without one, such as a head, is left out.
pub fn convolutions(network: &Network) -> Vec<String> {
    let (mut names, mut open) = (Vec::new(), false);
    for (name, layer) in network.layers() {
        match layer {
            Layer::Conv2d(_) => open = true,
            Layer::Activation(_) | Layer::Maxout(_) if open => {
                names.push(name.clone());
                open = false;
            }
            Layer::Linear(_) | Layer::Reshape(_) | Layer::GlobalPool(_) => open = false,
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::rng::Philox;

    #[test]
    fn convolutions_with_an_activation_are_found() {
        for (recipe, count, last) in [
            ("small", 2, Some("main.4")),
            ("torch", 4, Some("main.10")),
            ("newmu-svhn", 3, Some("main.7")),
            ("gan2014", 0, None),
        ] {
            let (_, d) = Recipe::preset(recipe).unwrap().build(&mut Philox::new(0, 0)).unwrap();
            let found = convolutions(&d);
            assert_eq!((found.len(), found.last().map(String::as_str)), (count, last), "{recipe}");
        }
    }
}
