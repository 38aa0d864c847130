//! Validation of combinations of keys: those that make no sense are refused, each with the reason.

use super::architecture::{Architecture, layer_configs};
use super::{
    ConditionKind, ConditioningMethod, NetworkRole, NormKind, OptimizerType, Parametrization,
    Range, Recipe, bad, combination,
};
use crate::error::NnError;
use crate::error::ValueProblem::Invalid;
use crate::layers::LayerConfig;
use crate::loss::{FeatureNorm, GanLoss as Loss, Labels};
use serde::Serialize;

type Check = Result<(), NnError>;

/// Refuses the recipe under each condition, with the key and its value, the other key or section
/// that they do not go together with, and the reason.
macro_rules! reject {
    ($($wrong:expr => $key:expr, $value:expr, $other:expr, $why:expr;)+) => {
        $(if $wrong {
            return Err(bad($key, $value, combination($other, $why)));
        })+
    };
}

/// A name as a recipe writes it.
fn written(name: impl Serialize) -> String {
    toml::Value::try_from(name).map_or_else(|_| String::new(), |name| name.to_string())
}

pub(super) fn validate(recipe: &Recipe) -> Check {
    objective(recipe)?;
    penalties(recipe)?;
    matching(recipe)?;
    semi_supervised(recipe)?;
    networks(recipe)?;
    discriminator(recipe)?;
    condition(recipe)?;
    optimizer(recipe)?;
    schedule(recipe)?;
    let augments = !recipe.augment.policy.is_empty() || recipe.image.flip;
    reject! {
        !recipe.augment.allow && augments => "augment.allow", false, "augment.policy",
            "the source of this recipe trains without augmentation; set augment.allow = true to \
             augment all the same";
    }
    Ok(())
}

fn objective(recipe: &Recipe) -> Check {
    let o = &recipe.objective;
    let name = written(o.loss);
    let has_labels = recipe.labels != Labels::default();
    reject! {
        has_labels && !o.loss.takes_targets() => "objective.loss", &name, "labels",
            "has no targets that section [labels] could change";
        o.loss == Loss::Wasserstein && o.weight_clip == 0.0 && o.gradient_penalty == 0.0
            && o.r1 == 0.0
            && recipe.discriminator.parametrization != Parametrization::SpectralNorm
            => "objective.loss", &name, "objective.weight_clip",
            "diverges without a bound on the critic's slope; set objective.weight_clip, \
             objective.gradient_penalty or discriminator.parametrization = \"spectral-norm\"";
        o.relativistic && o.loss == Loss::Wasserstein => "objective.relativistic", true,
            "objective.loss",
            "only doubles the loss of \"wasserstein\", which compares the means already; leave it \
             out";
    }
    Ok(())
}

/// Checks of the regularizers that bound D's slope.
fn penalties(recipe: &Recipe) -> Check {
    let o = &recipe.objective;
    let alone = "needs a D whose output depends on one image, unlike";
    for (key, weight, norms) in [
        ("objective.gradient_penalty", o.gradient_penalty, "\"layer\", \"instance\" or \"none\""),
        ("objective.r1", o.r1, "\"none\""),
    ] {
        reject! {
            weight > 0.0 && has(recipe, NormKind::Batch) => key, weight, "discriminator.norm",
                format!("{alone} batch norm; use discriminator.norm = {norms}");
            weight > 0.0 && discriminates(recipe) => key, weight,
                "discriminator.minibatch_discrimination",
                format!("{alone} minibatch discrimination; keep one of the two");
        }
    }
    reject! {
        o.r1 > 0.0 && o.gradient_penalty > 0.0 => "objective.r1", o.r1,
            "objective.gradient_penalty",
            "pulls the slope to 0 at real images, gradient_penalty to 1 near them; keep one";
        o.r1_every != 1 && o.r1 == 0.0 => "objective.r1_every", o.r1_every, "objective.r1",
            "needs objective.r1, such as 1.0";
        o.weight_clip > 0.0 && o.loss != Loss::Wasserstein
            => "objective.weight_clip", o.weight_clip, "objective.loss",
            "bounds the slope of a Wasserstein critic and does not help other losses; use \
             objective.loss = \"wasserstein\"";
        o.weight_clip > 0.0 && o.gradient_penalty > 0.0 => "objective.weight_clip", o.weight_clip,
            "objective.gradient_penalty",
            "and gradient_penalty both bound the slope; keep one";
        o.weight_clip > 0.0
            && recipe.discriminator.parametrization == Parametrization::SpectralNorm
            => "objective.weight_clip", o.weight_clip, "discriminator.parametrization",
            "and spectral norm both bound the slope, and the norm undoes the clipping; keep one";
    }
    Ok(())
}

fn semi_supervised(recipe: &Recipe) -> Check {
    let o = &recipe.objective;
    reject! {
        o.num_labels > 0 && !o.semi_supervised => "objective.num_labels", o.num_labels,
            "objective.semi_supervised",
            "is the number of labeled images of a semi-supervised D; set \
             objective.semi_supervised = true";
    }
    if !o.semi_supervised {
        return Ok(());
    }
    reject! {
        o.loss != Loss::NonSaturating => "objective.loss", written(o.loss),
            "objective.semi_supervised",
            "has no form for K+1 classes; use \"non-saturating\" with semi_supervised";
        o.relativistic => "objective.relativistic", true, "objective.semi_supervised",
            "has no form for K+1 classes";
        recipe.labels != Labels::default() => "objective.semi_supervised", true, "labels",
            "its targets are the classes, which section [labels] does not change";
    }
    let Some(c) = &recipe.condition else {
        let why = "needs a section [condition] with kind = \"class\"";
        return Err(bad("objective.semi_supervised", true, combination("condition", why)));
    };
    reject! {
        c.kind != ConditionKind::Class || c.discriminator != ConditioningMethod::None
            => "objective.semi_supervised", true, "condition",
            "needs condition.kind = \"class\" and condition.discriminator = \"none\": D predicts \
             the class";
        o.num_labels > 0 && c.generator != ConditioningMethod::None
            => "objective.num_labels", o.num_labels, "condition.generator",
            "hides labels on which G would be conditioned; use condition.generator = \"none\"";
    }
    let fewer = format!("is fewer than one of each of {} classes", c.size);
    reject! {
        o.num_labels > 0 && o.num_labels < c.size => "objective.num_labels", o.num_labels,
            "condition.size", fewer;
    }
    Ok(())
}

/// Checks of feature matching, and of the keys that only it reads.
fn matching(recipe: &Recipe) -> Check {
    let o = &recipe.objective;
    let needs = "needs objective.feature_matching, such as 1.0";
    let off = o.feature_matching == 0.0;
    reject! {
        off && o.feature_norm != FeatureNorm::L2
            => "objective.feature_norm", written(o.feature_norm),
            "objective.feature_matching", needs;
        off && !o.feature_layers.is_empty()
            => "objective.feature_layers", format!("{:?}", o.feature_layers),
            "objective.feature_matching", needs;
        o.relativistic && !off => "objective.feature_matching", o.feature_matching,
            "objective.relativistic",
            "replaces G's loss, so a relativistic loss would have no effect on G";
    }
    if o.feature_layers.is_empty() {
        return Ok(());
    }
    let made = Architecture::new(recipe, NetworkRole::Discriminator)?;
    let known: Vec<&str> = made.layers.iter().map(|(name, _)| name.as_str()).collect();
    for layer in &recipe.objective.feature_layers {
        reject! {
            !known.contains(&layer.as_str()) => "objective.feature_layers", format!("{layer:?}"),
                "discriminator.layers",
                format!("is not a layer of D, which has {}", known.join(", "));
        }
    }
    Ok(())
}

/// Whether D has this norm in a layer.
fn has(recipe: &Recipe, norm: NormKind) -> bool {
    d_has(recipe, |layer| match norm {
        NormKind::Batch => matches!(layer, LayerConfig::BatchNorm(_)),
        NormKind::VirtualBatch => matches!(layer, LayerConfig::VirtualBatchNorm(_)),
        NormKind::Instance => matches!(layer, LayerConfig::InstanceNorm(_)),
        NormKind::Layer => matches!(layer, LayerConfig::LayerNorm(_)),
        NormKind::None => false,
    })
}

/// Whether D has minibatch discrimination.
fn discriminates(recipe: &Recipe) -> bool {
    d_has(recipe, |layer| matches!(layer, LayerConfig::MinibatchDiscrimination(_)))
}

fn d_has(recipe: &Recipe, wanted: impl Fn(&LayerConfig) -> bool) -> bool {
    layer_configs(recipe, NetworkRole::Discriminator).iter().any(wanted)
}

/// Checks of batch statistics that D takes as an input, and of noise that decays.
fn discriminator(recipe: &Recipe) -> Check {
    let d = &recipe.discriminator;
    let stddev = d_has(recipe, |layer| matches!(layer, LayerConfig::MinibatchStddev(_)))
        || d.layers.is_empty() && d.minibatch_stddev > 0;
    reject! {
        stddev && (discriminates(recipe) || d.minibatch_discrimination.is_some())
            => "discriminator.minibatch_stddev", d.minibatch_stddev,
            "discriminator.minibatch_discrimination",
            "and minibatch discrimination both measure the variation of a batch; keep one";
    }
    let noisy =
        recipe.noise.input > 0.0 || d_has(recipe, |layer| matches!(layer, LayerConfig::Noise(_)));
    let steps = recipe.noise.decay_steps;
    let none = "there is no noise to decay; set noise.input or discriminator.noise";
    reject! { steps > 0 && !noisy => "noise.decay_steps", steps, "noise.input", none; }
    Ok(())
}

fn networks(recipe: &Recipe) -> Check {
    let (g, d) = (&recipe.generator, &recipe.discriminator);
    let both = g.layers.iter().any(|l| matches!(l, LayerConfig::VirtualBatchNorm(_)))
        && g.layers.iter().any(|l| matches!(l, LayerConfig::BatchNorm(_)));
    if has(recipe, NormKind::VirtualBatch) {
        let why = "is for generators: D's real and generated batches are separate, so there is no \
                   common reference batch";
        return Err(bad("discriminator.norm", "\"virtual-batch\"", Invalid(why.into())));
    }
    if both {
        let why = "batch norm would mix the reference batch of virtual batch norm with the \
                   samples; use one";
        return Err(bad("generator.layers", "[…]", Invalid(why.into())));
    }
    for (key, everywhere, other, norm) in [
        ("generator.norm_everywhere", g.norm_everywhere, "generator.norm", g.norm),
        ("discriminator.norm_everywhere", d.norm_everywhere, "discriminator.norm", d.norm),
    ] {
        let why = "there is no norm to apply";
        reject! { everywhere && norm == NormKind::None => key, true, other, why; }
    }
    let [h, w] = recipe.image.size;
    let sides: Vec<usize> =
        (1..=recipe.levels()).map(|level| (h >> level).min(w >> level)).collect();
    for (key, side, listed) in [
        ("generator.attention", g.attention, &g.layers),
        ("discriminator.attention", d.attention, &d.layers),
    ] {
        let known = sides.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let why = format!("there is no hidden image with that smaller side: there are {known}");
        let is_missing = listed.is_empty() && side > 0 && !sides.contains(&side);
        reject! { is_missing => key, side, "image.size", why; }
    }
    let unit = recipe.image.range == Range::Unit;
    let sigmoid = matches!(g.layers.last(), Some(LayerConfig::Sigmoid(_)));
    let tanh = g.layers.is_empty() || matches!(g.layers.last(), Some(LayerConfig::Tanh(_)));
    reject! {
        unit && tanh => "image.range", "\"unit\"", "generator.layers",
            "the generator ends in tanh, whose pixels are in [-1, 1]; use \"signed\"";
        !unit && sigmoid => "image.range", "\"signed\"", "generator.layers",
            "the generator ends in a sigmoid, whose pixels are in [0, 1]; use \"unit\"";
    }
    Ok(())
}

fn condition(recipe: &Recipe) -> Check {
    let Some(c) = &recipe.condition else { return Ok(()) };
    let only_d = |place: ConditioningMethod| {
        matches!(place, ConditioningMethod::Projection | ConditioningMethod::Auxiliary)
    };
    if only_d(c.generator) {
        let why = "is a method of discriminators; use \"input\" or \"every-layer\"";
        return Err(bad("condition.generator", written(c.generator), Invalid(why.into())));
    }
    reject! {
        !c.names.is_empty() && c.names.len() != c.size
            => "condition.names", format!("{} names", c.names.len()),
            "condition.size", format!("condition.size is {}", c.size);
        c.kind == ConditionKind::Vector && c.discriminator == ConditioningMethod::Auxiliary
            => "condition.discriminator", "\"auxiliary\"", "condition.kind",
            "a vector has no classes; use \"input\" or \"projection\"";
    }
    let nowhere = c.generator == ConditioningMethod::None
        && c.discriminator == ConditioningMethod::None
        && !recipe.objective.semi_supervised;
    reject! {
        nowhere => "condition.generator", "\"none\"", "condition.discriminator",
            "neither network would use the condition; leave the section out";
    }
    let (g, d) = (&recipe.generator, &recipe.discriminator);
    placed("condition.generator", c.generator, "generator.layers", &g.layers)?;
    placed("condition.discriminator", c.discriminator, "discriminator.layers", &d.layers)?;
    let appends = |place: ConditioningMethod, layers: &[LayerConfig]| match layers {
        [] => matches!(place, ConditioningMethod::Input | ConditioningMethod::EveryLayer),
        _ => layers.iter().any(|l| matches!(l, LayerConfig::Condition(_))),
    };
    reject! {
        c.embedding > 0 && !appends(c.generator, &g.layers)
            && !appends(c.discriminator, &d.layers) => "condition.embedding", c.embedding,
            "condition.generator",
            "replaces the condition where it is appended, but no network appends it; use \
             condition.generator = \"input\"";
        c.discriminator == ConditioningMethod::Projection
            && d.minibatch_discrimination.is_some() && d.layers.is_empty()
            => "condition.discriminator", "\"projection\"",
            "discriminator.minibatch_discrimination",
            "cannot be combined with minibatch discrimination; use discriminator.minibatch_stddev";
    }
    Ok(())
}

/// Refuses listed layers that read a condition which their network does not have, and a condition
/// that none of them reads.
fn placed(key: &str, place: ConditioningMethod, list: &str, layers: &[LayerConfig]) -> Check {
    if layers.is_empty() {
        return Ok(());
    }
    let read = layers.iter().any(LayerConfig::reads_condition);
    let given = !matches!(place, ConditioningMethod::None | ConditioningMethod::Auxiliary);
    reject! {
        read && !given => key, written(place), list,
            format!("{list} has layers that read the condition; use \"input\", or take them out");
        given && !read => key, written(place), list,
            format!("no layer of {list} reads it; add {{ layer = \"condition\" }} there, or use \
                     \"none\"");
    }
    Ok(())
}

fn optimizer(recipe: &Recipe) -> Check {
    let o = &recipe.optimizer;
    let adam = matches!(o.kind, OptimizerType::Adam | OptimizerType::AdamW);
    reject! {
        adam && o.momentum > 0.0 => "optimizer.momentum", o.momentum, "optimizer.type",
            "is for sgd and rmsprop; Adam's is optimizer.beta1";
    }
    let end = o.momentum_end.unwrap_or_default();
    reject! {
        o.momentum_end.is_some() && o.momentum == 0.0 => "optimizer.momentum_end", end,
            "optimizer.momentum", "needs optimizer.momentum to begin with, such as 0.5";
        o.nesterov && o.kind != OptimizerType::Sgd => "optimizer.nesterov", true, "optimizer.type",
            "is for optimizer.type = \"sgd\"";
        o.nesterov && o.momentum == 0.0 => "optimizer.nesterov", true, "optimizer.momentum",
            "needs optimizer.momentum, such as 0.9";
    }
    Ok(())
}

fn schedule(recipe: &Recipe) -> Check {
    let t = &recipe.train;
    let why = "gives every update its own images and latents: set train.resample_z = true";
    reject! {
        t.separate_batches && !t.resample_z => "train.separate_batches", true, "train.resample_z",
            why;
    }
    Ok(())
}
