//! Validation of the range of every value of a recipe.

use super::architecture::Architecture;
use super::{
    NetworkRole, Recipe, bad, combination, halvings, image, nearest_sizes, validate_combinations,
};
use crate::error::NnError;
use crate::error::ValueProblem::{OutOfRange, TooLarge};
use tensor::Activation;

/// Upper bound of sides, widths, latents and batches. Larger values are typing mistakes, and the
/// bound keeps the arithmetic below far from overflow.
const LARGEST_SIDE: usize = 8192;
const LARGEST_COUNT: usize = 65_536;
const LARGEST_KERNEL: usize = 31;
/// Upper bound of steps or epochs. TOML integers have no more than 63 bits.
const MAX_LENGTH: u64 = 1_000_000_000_000;
/// Upper bound of the updates of one network in a step.
const MOST_UPDATES: usize = 1000;
/// Upper bound of the parameters of one network (4 GiB).
const MOST_PARAMETERS: u128 = 1 << 30;
/// Upper bound of the elements of one layer's output for a batch (8 GiB).
const MOST_ACTIVATIONS: u128 = 1 << 31;

/// A range of real numbers: the values that it holds, and its description.
type AllowedRange = (fn(f32) -> bool, &'static str);
const POSITIVE: AllowedRange = (|x| x > 0.0, "greater than 0");
const NOT_NEGATIVE: AllowedRange = (|x| x >= 0.0, "at least 0");
const BELOW_ONE: AllowedRange = (|x| (0.0..1.0).contains(&x), "at least 0 and less than 1");
const UP_TO_ONE: AllowedRange = (|x| x > 0.0 && x <= 1.0, "greater than 0 and at most 1");
const UNIT: AllowedRange = (|x| (0.0..=1.0).contains(&x), "from 0 to 1");

pub(super) fn validate(recipe: &Recipe) -> Result<(), NnError> {
    image_size(recipe)?;
    image::validate(&recipe.image)?;
    counts(recipe)?;
    reals(recipe)?;
    label_ranges(recipe)?;
    if let Some(problem) = recipe.optimizer.schedule.problem() {
        let schedule = format!("{:?}", recipe.optimizer.schedule);
        return Err(bad("optimizer.schedule", schedule, OutOfRange(problem)));
    }
    length(recipe.train.epochs, recipe.train.steps)?;
    validate_combinations::validate(recipe)?;
    networks(recipe)
}

fn image_size(recipe: &Recipe) -> Result<(), NnError> {
    let (size, channels) = (recipe.image.size, recipe.image.channels);
    if size.iter().any(|&side| side > LARGEST_SIDE) {
        let problem = format!("sides must be at most {LARGEST_SIDE} pixels");
        return Err(bad("image.size", format!("[{}, {}]", size[0], size[1]), OutOfRange(problem)));
    }
    // Listed layers may make any size; the DCGAN rule makes the base resolution times powers of
    // two.
    let derived = recipe.generator.layers.is_empty() || recipe.discriminator.layers.is_empty();
    if derived && halvings(size).is_none() {
        return Err(NnError::ImageSize { size, nearest: nearest_sizes(size) });
    }
    if ![1, 3, 4].contains(&channels) {
        let problem = "must be 1 (gray), 3 (RGB) or 4 (RGBA)".into();
        return Err(bad("image.channels", channels, OutOfRange(problem)));
    }
    Ok(())
}

/// Checks the ranges of whole numbers.
fn counts(recipe: &Recipe) -> Result<(), NnError> {
    let Recipe { image, generator: g, discriminator: d, train, objective, .. } = recipe;
    let counts = [
        ("image.size", image.size[0], 1, LARGEST_SIDE),
        ("image.size", image.size[1], 1, LARGEST_SIDE),
        ("generator.latent", g.latent, 1, LARGEST_COUNT),
        ("generator.width", g.width, 1, LARGEST_COUNT),
        ("generator.kernel", g.kernel, 2, LARGEST_KERNEL),
        ("generator.reference", g.reference, 2, LARGEST_COUNT),
        ("discriminator.width", d.width, 1, LARGEST_COUNT),
        ("discriminator.kernel", d.kernel, 2, LARGEST_KERNEL),
        ("discriminator.minibatch_stddev", d.minibatch_stddev, 0, LARGEST_COUNT),
        ("train.batch", train.batch, 1, LARGEST_COUNT),
        ("train.d_steps", train.d_steps, 1, MOST_UPDATES),
        ("train.g_steps", train.g_steps, 1, MOST_UPDATES),
        ("train.accumulate", train.accumulate, 1, train.batch),
    ];
    let discrimination = d.minibatch_discrimination.map(|m| {
        [
            ("discriminator.minibatch_discrimination.kernels", m.kernels, 1, LARGEST_COUNT),
            ("discriminator.minibatch_discrimination.dims", m.dims, 1, LARGEST_COUNT),
        ]
    });
    let condition = recipe.condition.as_ref().map(|c| {
        [
            ("condition.size", c.size, 1, LARGEST_COUNT),
            ("condition.embedding", c.embedding, 0, LARGEST_COUNT),
        ]
    });
    let optional = [discrimination, condition].into_iter().flatten().flatten();
    for (key, value, low, high) in counts.into_iter().chain(optional) {
        if !(low..=high).contains(&value) {
            return Err(bad(key, value, OutOfRange(format!("must be from {low} to {high}"))));
        }
    }
    if objective.r1_every == 0 {
        return Err(bad("objective.r1_every", 0, OutOfRange("must be at least 1".into())));
    }
    Ok(())
}

/// Checks the ranges of real numbers, as the type in which they are used, f32.
fn reals(recipe: &Recipe) -> Result<(), NnError> {
    let Recipe { generator: g, discriminator: d, batch_norm, init, objective: o, .. } = recipe;
    let Recipe { labels, noise, optimizer, train, .. } = recipe;
    let slope = match g.activation {
        Activation::LeakyRelu(slope) => Some(slope.into()),
        _ => None,
    };
    let auxiliary = recipe.condition.as_ref().map(|c| c.auxiliary_weight);
    // Key, value, range, and a usual value.
    let rows = [
        ("generator.activation.leaky_relu", slope, UNIT, ""),
        ("generator.dropout", Some(g.dropout), BELOW_ONE, ""),
        ("discriminator.slope", Some(d.slope), UNIT, ""),
        ("discriminator.dropout", Some(d.dropout), BELOW_ONE, ""),
        ("discriminator.noise", Some(d.noise), NOT_NEGATIVE, ""),
        ("batch_norm.eps", Some(batch_norm.eps), POSITIVE, ""),
        ("batch_norm.momentum", Some(batch_norm.momentum), UP_TO_ONE, ""),
        ("init.std", Some(init.std), NOT_NEGATIVE, ""),
        ("init.gamma_std", Some(init.gamma_std), NOT_NEGATIVE, ""),
        ("optimizer.lr", Some(optimizer.lr), POSITIVE, "0.0002"),
        ("optimizer.lr_discriminator", optimizer.lr_discriminator, POSITIVE, ""),
        ("optimizer.beta1", Some(optimizer.beta1), BELOW_ONE, "0.5"),
        ("optimizer.beta2", Some(optimizer.beta2), BELOW_ONE, "0.999"),
        ("optimizer.eps", Some(optimizer.eps), POSITIVE, "1e-8"),
        ("optimizer.momentum", Some(optimizer.momentum), BELOW_ONE, "0.9"),
        ("optimizer.momentum_end", optimizer.momentum_end, BELOW_ONE, "0.7"),
        ("optimizer.weight_decay", Some(optimizer.weight_decay), NOT_NEGATIVE, ""),
        ("optimizer.clip_gradient", Some(optimizer.clip_gradient), NOT_NEGATIVE, ""),
        ("objective.gradient_penalty", Some(o.gradient_penalty), NOT_NEGATIVE, ""),
        ("objective.r1", Some(o.r1), NOT_NEGATIVE, ""),
        ("objective.weight_clip", Some(o.weight_clip), NOT_NEGATIVE, ""),
        ("objective.feature_matching", Some(o.feature_matching), NOT_NEGATIVE, ""),
        ("objective.historical_averaging", Some(o.historical_averaging), NOT_NEGATIVE, ""),
        ("labels.flip", Some(labels.flip), BELOW_ONE, "0.05"),
        ("noise.input", Some(noise.input), NOT_NEGATIVE, ""),
        ("condition.auxiliary_weight", auxiliary, NOT_NEGATIVE, ""),
        ("train.ema", Some(train.ema), BELOW_ONE, "0.999"),
    ];
    for (key, value, (holds, range), usual) in rows {
        let Some(value): Option<f64> = value else { continue };
        if !(value as f32).is_finite() || !holds(value as f32) {
            let usual = if usual.is_empty() { "".into() } else { format!("; {usual} is usual") };
            return Err(bad(key, value, OutOfRange(format!("must be {range}{usual}"))));
        }
    }
    Ok(())
}

fn label_ranges(recipe: &Recipe) -> Result<(), NnError> {
    for (key, [low, high]) in
        [("labels.real", recipe.labels.real), ("labels.fake", recipe.labels.fake)]
    {
        if low.is_nan() || low < 0.0 || !(low..=1.0).contains(&high) {
            let problem = "must be a range within 0 and 1, the lower end first".into();
            return Err(bad(key, format!("[{low}, {high}]"), OutOfRange(problem)));
        }
    }
    Ok(())
}

fn length(epochs: Option<u64>, steps: Option<u64>) -> Result<(), NnError> {
    let (key, length) = match (epochs, steps) {
        (Some(epochs), None) => ("train.epochs", epochs),
        (None, Some(steps)) => ("train.steps", steps),
        (Some(_), Some(steps)) => {
            let why = "cannot be combined with train.epochs; keep one of the two";
            return Err(bad("train.steps", steps, combination("train.epochs", why)));
        }
        (None, None) => return Err(NnError::MissingKey { key: "train.epochs".into() }),
    };
    if (1..=MAX_LENGTH).contains(&length) {
        Ok(())
    } else {
        Err(bad(key, length, OutOfRange(format!("must be from 1 to {MAX_LENGTH}"))))
    }
}

/// Checks that need the derived layers.
fn networks(recipe: &Recipe) -> Result<(), NnError> {
    // The rows of the smallest part that is computed at once.
    let batch = recipe.train.batch / recipe.train.accumulate;
    for (key, value, role) in [
        ("generator.width", recipe.generator.width, NetworkRole::Generator),
        ("discriminator.width", recipe.discriminator.width, NetworkRole::Discriminator),
    ] {
        let net = Architecture::new(recipe, role)?;
        for (name, plan) in &net.layers {
            let outputs = plan.output.iter().map(|&n| n as u128).product::<u128>();
            if outputs * batch as u128 > MOST_ACTIVATIONS {
                let problem = format!("{name} would need over 8 GiB for its output; reduce it");
                return Err(bad("train.batch", recipe.train.batch, TooLarge(problem)));
            }
            // The normalized form of a single value is 0, whatever the value.
            if plan.batch_norm_features.is_some_and(|n| outputs * batch as u128 <= n as u128) {
                if recipe.train.accumulate > 1 {
                    let why = format!(
                        "batch norm at {name} would have a single value per unit in a part of \
                         the batch; use fewer parts"
                    );
                    let parts = recipe.train.accumulate;
                    return Err(bad("train.accumulate", parts, combination("train.batch", why)));
                }
                let why = format!(
                    "batch norm at {name} would have a single value per unit; use at least 2, or \
                     generator.stem = \"conv\""
                );
                return Err(bad("train.batch", batch, combination("generator.stem", why)));
            }
        }
        let parameters = net.parameters();
        if parameters > MOST_PARAMETERS {
            let problem = format!(
                "makes a network of {parameters} parameters, over {MOST_PARAMETERS}; reduce it"
            );
            return Err(bad(key, value, TooLarge(problem)));
        }
    }
    Ok(())
}
