//! Validation of the range of every value of a recipe.

use super::architecture::Architecture;
use super::{
    DiscriminatorConfig, GeneratorConfig, NetworkRole, Recipe, halvings, image, nearest_sizes,
    validate_combinations,
};
use crate::error::NnError;
use std::fmt::Display;
use tensor::Activation;

/// Upper bound of sides, widths, latents and batches. Larger values are typing mistakes, and the
/// bound keeps the arithmetic below far from overflow.
const LARGEST_SIDE: usize = 8192;
const LARGEST_COUNT: usize = 65_536;
const LARGEST_KERNEL: usize = 31;
/// Upper bound of steps or epochs. TOML integers have no more than 63 bits.
const LONGEST: u64 = 1_000_000_000_000;
/// Upper bound of the updates of one network in a step.
const MOST_UPDATES: usize = 1000;
/// Upper bound of the parameters of one network (4 GiB).
const MOST_PARAMETERS: u128 = 1 << 30;
/// Upper bound of the elements of one layer's output for a batch (8 GiB).
const MOST_ACTIVATIONS: u128 = 1 << 31;

pub(super) fn bad(key: &str, value: impl Display, problem: impl Into<String>) -> NnError {
    NnError::BadValue { key: key.into(), value: value.to_string(), problem: problem.into() }
}

fn whole(key: &str, value: usize, low: usize, high: usize) -> Result<(), NnError> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(bad(key, value, format!("must be from {low} to {high}")))
    }
}

/// The range of the type in which the values are used, f32.
fn real(key: &str, value: f64, fits: impl Fn(f32) -> bool, range: &str) -> Result<(), NnError> {
    let used = value as f32;
    if used.is_finite() && fits(used) {
        Ok(())
    } else {
        Err(bad(key, value, format!("must be {range}")))
    }
}

pub(super) fn validate(recipe: &Recipe) -> Result<(), NnError> {
    let Recipe { image, generator, discriminator, batch_norm, init, optimizer, train, .. } = recipe;
    if image.size.iter().any(|&side| side > LARGEST_SIDE) {
        let [h, w] = image.size;
        return Err(bad(
            "image.size",
            format!("[{h}, {w}]"),
            format!("sides must be at most {LARGEST_SIDE} pixels"),
        ));
    }
    // Listed layers may make any size; the DCGAN rule makes the base resolution times powers of
    // two.
    let derived = generator.layers.is_empty() || discriminator.layers.is_empty();
    if derived && halvings(image.size).is_none() {
        return Err(NnError::ImageSize { size: image.size, nearest: nearest_sizes(image.size) });
    }
    if ![1, 3, 4].contains(&image.channels) {
        return Err(bad("image.channels", image.channels, "must be 1 (gray), 3 (RGB) or 4 (RGBA)"));
    }
    image::validate(image)?;
    whole("generator.latent", generator.latent, 1, LARGEST_COUNT)?;
    image.size.iter().try_for_each(|&side| whole("image.size", side, 1, LARGEST_SIDE))?;
    of_generator(generator)?;
    of_discriminator(discriminator)?;
    real("batch_norm.eps", batch_norm.eps, |e| e > 0.0, "greater than 0")?;
    real(
        "batch_norm.momentum",
        batch_norm.momentum,
        |m| m > 0.0 && m <= 1.0,
        "greater than 0 and at most 1",
    )?;
    real("init.std", init.std, |s| s >= 0.0, "at least 0")?;
    real("init.gamma_std", init.gamma_std, |s| s >= 0.0, "at least 0")?;
    real("optimizer.lr", optimizer.lr, |lr| lr > 0.0, "a number greater than 0; 0.0002 is usual")?;
    real(
        "optimizer.beta1",
        optimizer.beta1,
        |b| (0.0..1.0).contains(&b),
        "at least 0 and less than 1; 0.5 is usual",
    )?;
    real(
        "optimizer.beta2",
        optimizer.beta2,
        |b| (0.0..1.0).contains(&b),
        "at least 0 and less than 1; 0.999 is usual",
    )?;
    real("optimizer.eps", optimizer.eps, |e| e > 0.0, "greater than 0; 1e-8 is usual")?;
    real("optimizer.weight_decay", optimizer.weight_decay, |w| w >= 0.0, "at least 0")?;
    whole("train.batch", train.batch, 1, LARGEST_COUNT)?;
    whole("train.d_steps", train.d_steps, 1, MOST_UPDATES)?;
    whole("train.g_steps", train.g_steps, 1, MOST_UPDATES)?;
    of_training(recipe)?;
    real(
        "train.ema",
        train.ema,
        |e| (0.0..1.0).contains(&e),
        "at least 0 (off) and less than 1; 0.999 is usual",
    )?;
    length(train.epochs, train.steps)?;
    validate_combinations::validate(recipe)?;
    networks(recipe)
}

fn of_generator(g: &GeneratorConfig) -> Result<(), NnError> {
    whole("generator.width", g.width, 1, LARGEST_COUNT)?;
    whole("generator.kernel", g.kernel, 2, LARGEST_KERNEL)?;
    if let Activation::LeakyRelu(slope) = g.activation {
        real(
            "generator.activation.leaky_relu",
            slope.into(),
            |s| (0.0..=1.0).contains(&s),
            "from 0 to 1",
        )?;
    }
    real(
        "generator.dropout",
        g.dropout,
        |p| (0.0..1.0).contains(&p),
        "at least 0 and less than 1",
    )?;
    whole("generator.reference", g.reference, 2, LARGEST_COUNT)
}

fn of_discriminator(d: &DiscriminatorConfig) -> Result<(), NnError> {
    whole("discriminator.width", d.width, 1, LARGEST_COUNT)?;
    whole("discriminator.kernel", d.kernel, 2, LARGEST_KERNEL)?;
    real("discriminator.slope", d.slope, |s| (0.0..=1.0).contains(&s), "from 0 to 1")?;
    real(
        "discriminator.dropout",
        d.dropout,
        |p| (0.0..1.0).contains(&p),
        "at least 0 and less than 1",
    )?;
    real("discriminator.noise", d.noise, |n| n >= 0.0, "at least 0")?;
    whole("discriminator.minibatch_stddev", d.minibatch_stddev, 0, LARGEST_COUNT)?;
    d.minibatch_discrimination.map_or(Ok(()), |m| {
        whole("discriminator.minibatch_discrimination.kernels", m.kernels, 1, LARGEST_COUNT)?;
        whole("discriminator.minibatch_discrimination.dims", m.dims, 1, LARGEST_COUNT)
    })
}

fn of_training(recipe: &Recipe) -> Result<(), NnError> {
    let Recipe { objective, labels, noise, optimizer, condition, .. } = recipe;
    let weight = |key: &str, value| real(key, value, |w| w >= 0.0, "at least 0");
    weight("objective.gradient_penalty", objective.gradient_penalty)?;
    weight("objective.r1", objective.r1)?;
    weight("objective.weight_clip", objective.weight_clip)?;
    weight("objective.feature_matching", objective.feature_matching)?;
    weight("objective.historical_averaging", objective.historical_averaging)?;
    weight("noise.input", noise.input)?;
    weight("optimizer.clip_gradient", optimizer.clip_gradient)?;
    if objective.r1_every == 0 {
        return Err(bad("objective.r1_every", 0, "must be at least 1"));
    }
    for (key, [low, high]) in [("labels.real", labels.real), ("labels.fake", labels.fake)] {
        let fits = |p: f64| (0.0..=1.0).contains(&p);
        if !fits(low) || !fits(high) || low > high {
            return Err(bad(
                key,
                format!("[{low}, {high}]"),
                "must be a range within 0 and 1, the lower end first",
            ));
        }
    }
    real(
        "labels.flip",
        labels.flip,
        |p| (0.0..1.0).contains(&p),
        "at least 0 and less than 1; 0.05 is usual",
    )?;
    real(
        "optimizer.momentum",
        optimizer.momentum,
        |m| (0.0..1.0).contains(&m),
        "at least 0 and less than 1; 0.9 is usual",
    )?;
    if let Some(momentum) = optimizer.momentum_end {
        real(
            "optimizer.momentum_end",
            momentum,
            |m| (0.0..1.0).contains(&m),
            "at least 0 and less than 1; 0.7 is usual",
        )?;
    }
    if let Some(lr) = optimizer.lr_discriminator {
        real("optimizer.lr_discriminator", lr, |lr| lr > 0.0, "a number greater than 0")?;
    }
    if let Some(problem) = optimizer.schedule.problem() {
        return Err(bad("optimizer.schedule", format!("{:?}", optimizer.schedule), problem));
    }
    if let Some(c) = condition {
        whole("condition.size", c.size, 1, LARGEST_COUNT)?;
        whole("condition.embedding", c.embedding, 0, LARGEST_COUNT)?;
        weight("condition.auxiliary_weight", c.auxiliary_weight)?;
    }
    Ok(())
}

fn length(epochs: Option<u64>, steps: Option<u64>) -> Result<(), NnError> {
    let (key, length) = match (epochs, steps) {
        (Some(epochs), None) => ("train.epochs", epochs),
        (None, Some(steps)) => ("train.steps", steps),
        (Some(_), Some(steps)) => {
            return Err(bad(
                "train.steps",
                steps,
                "cannot be combined with train.epochs; keep one of the two",
            ));
        }
        (None, None) => return Err(NnError::MissingKey { key: "train.epochs".into() }),
    };
    if (1..=LONGEST).contains(&length) {
        Ok(())
    } else {
        Err(bad(key, length, format!("must be from 1 to {LONGEST}")))
    }
}

/// Checks that need the derived layers.
fn networks(recipe: &Recipe) -> Result<(), NnError> {
    let batch = recipe.train.batch;
    for (key, value, role) in [
        ("generator.width", recipe.generator.width, NetworkRole::Generator),
        ("discriminator.width", recipe.discriminator.width, NetworkRole::Discriminator),
    ] {
        let net = Architecture::new(recipe, role)?;
        for (name, plan) in &net.layers {
            let outputs = plan.output.iter().map(|&n| n as u128).product::<u128>();
            if outputs * batch as u128 > MOST_ACTIVATIONS {
                return Err(bad(
                    "train.batch",
                    batch,
                    format!("{name} would need over 8 GiB for its output; reduce it"),
                ));
            }
            // The normalized form of a single value is 0, whatever the value.
            if plan.batch_norm_features.is_some_and(|n| outputs * batch as u128 <= n as u128) {
                return Err(bad(
                    "train.batch",
                    batch,
                    format!(
                        "batch norm at {name} would have a single value per unit; use at least 2, \
                         or generator.stem = \"conv\""
                    ),
                ));
            }
        }
        let parameters = net.parameters();
        if parameters > MOST_PARAMETERS {
            let problem = format!(
                "makes a network of {parameters} parameters, over {MOST_PARAMETERS}; reduce it"
            );
            return Err(bad(key, value, problem));
        }
    }
    Ok(())
}
