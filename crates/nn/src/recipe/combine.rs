//! Combinations of keys that make no sense, each with the reason.

use super::check::bad;
use super::{ConditionKind, Conditioned, Listed, NormKind, Range, Recipe, RuleName};
use crate::architecture;
use crate::error::NnError;
use crate::loss::{Labels, Objective as Loss};

type Check = Result<(), NnError>;

/// Refuses when `wrong`: the key, its value, and why.
fn refuse(wrong: bool, key: &str, value: impl std::fmt::Display, why: &str) -> Check {
    if wrong { Err(bad(key, value, why)) } else { Ok(()) }
}

pub(super) fn validate(recipe: &Recipe) -> Check {
    objective(recipe)?;
    networks(recipe)?;
    condition(recipe)?;
    optimizer(recipe)?;
    let augmented = !recipe.augment.policy.is_empty() || recipe.image.flip;
    let why =
        "this recipe stands for a source that trains on images as they are; set augment.forbidden = false to do it all the same";
    refuse(recipe.augment.forbidden && augmented, "augment.forbidden", true, why)
}

fn objective(recipe: &Recipe) -> Check {
    let o = &recipe.objective;
    let name = toml::Value::try_from(o.loss).map_or_else(|_| String::new(), |name| name.to_string());
    let told = recipe.labels != Labels::default();
    refuse(told && !o.loss.takes_targets(), "objective.loss", &name, "has no targets that section [labels] could change")?;
    refuse(
        o.gradient_penalty > 0.0 && has(recipe, NormKind::Batch),
        "objective.gradient_penalty",
        o.gradient_penalty,
        "is about each image by itself, which batch norm in D mixes; use discriminator.norm = \"layer\", \"instance\" or \"none\"",
    )?;
    refuse(
        o.r1 > 0.0 && has(recipe, NormKind::Batch),
        "objective.r1",
        o.r1,
        "is about each image by itself, which batch norm in D mixes; use discriminator.norm = \"none\"",
    )?;
    refuse(
        o.clip > 0.0 && o.loss != Loss::Wasserstein,
        "objective.clip",
        o.clip,
        "keeps a Wasserstein critic's slope bounded; it does nothing good for other losses: use objective.loss = \"wasserstein\"",
    )?;
    refuse(
        o.clip > 0.0 && o.gradient_penalty > 0.0,
        "objective.clip",
        o.clip,
        "and gradient_penalty are two ways to the same end; keep one",
    )?;
    refuse(
        o.loss == Loss::Wasserstein
            && o.clip == 0.0
            && o.gradient_penalty == 0.0
            && o.r1 == 0.0
            && recipe.discriminator.weights != super::Weights::SpectralNorm,
        "objective.loss",
        &name,
        "without a bound the critic's loss runs away; set objective.clip, objective.gradient_penalty or discriminator.weights = \"spectral-norm\"",
    )?;
    refuse(
        o.semi_supervised && o.loss != Loss::NonSaturating,
        "objective.loss",
        &name,
        "has no form for K+1 classes; use \"non-saturating\" with semi_supervised",
    )?;
    refuse(
        o.relativistic && o.loss == Loss::Wasserstein,
        "objective.relativistic",
        true,
        "only doubles the loss of \"wasserstein\", which compares the means already; leave it out",
    )?;
    refuse(o.semi_supervised && o.relativistic, "objective.relativistic", true, "has no form for K+1 classes")?;
    refuse(
        o.semi_supervised && told,
        "objective.semi_supervised",
        true,
        "its targets are the classes, which section [labels] does not change",
    )?;
    refuse(
        o.relativistic && o.feature_matching > 0.0,
        "objective.feature_matching",
        o.feature_matching,
        "takes the place of G's loss, so that nothing would be relative in it",
    )?;
    feature_layers(recipe)
}

fn feature_layers(recipe: &Recipe) -> Check {
    if recipe.objective.feature_layers.is_empty() {
        return Ok(());
    }
    let made = architecture::discriminator(recipe)?;
    for layer in &recipe.objective.feature_layers {
        let there = made.layers.iter().any(|(name, _)| name == layer);
        refuse(!there, "objective.feature_layers", format!("{layer:?}"), "is no layer of D; `dcgan recipes` lists them")?;
    }
    Ok(())
}

/// Whether D has this norm in a layer.
fn has(recipe: &Recipe, norm: NormKind) -> bool {
    let d = &recipe.discriminator;
    if d.layers.is_empty() {
        return d.norm == norm && (recipe.levels() > 1 || d.norm_everywhere);
    }
    d.layers.iter().any(|layer| match norm {
        NormKind::Batch => matches!(layer, Listed::BatchNorm { .. }),
        NormKind::VirtualBatch => matches!(layer, Listed::VirtualBatchNorm {}),
        NormKind::Instance => matches!(layer, Listed::InstanceNorm {}),
        NormKind::Layer => matches!(layer, Listed::LayerNorm {}),
        NormKind::None => false,
    })
}

fn networks(recipe: &Recipe) -> Check {
    let (g, d) = (&recipe.generator, &recipe.discriminator);
    let why = "is for generators: D sees real and generated images in batches apart, for which there is no one reference";
    refuse(has(recipe, NormKind::VirtualBatch), "discriminator.norm", "\"virtual-batch\"", why)?;
    let both = g.layers.iter().any(|l| matches!(l, Listed::VirtualBatchNorm {}))
        && g.layers.iter().any(|l| matches!(l, Listed::BatchNorm { .. }));
    refuse(
        both,
        "generator.layers",
        "[…]",
        "batch norm would mix the reference batch of virtual batch norm with the samples; use one",
    )?;
    for (key, everywhere, norm) in
        [("generator.norm_everywhere", g.norm_everywhere, g.norm), ("discriminator.norm_everywhere", d.norm_everywhere, d.norm)]
    {
        refuse(everywhere && norm == NormKind::None, key, true, "there is no norm to put there")?;
    }
    let [h, w] = recipe.image.size;
    let sides: Vec<usize> = (1..=recipe.levels()).map(|level| (h >> level).min(w >> level)).collect();
    for (key, side, listed) in
        [("generator.attention", g.attention, &g.layers), ("discriminator.attention", d.attention, &d.layers)]
    {
        let known = sides.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let why = format!("there is no hidden image with that smaller side: there are {known}");
        refuse(listed.is_empty() && side > 0 && !sides.contains(&side), key, side, &why)?;
    }
    let unit = recipe.image.range == Range::Unit;
    let sigmoid = matches!(g.layers.last(), Some(Listed::Sigmoid {}));
    let tanh = g.layers.is_empty() || matches!(g.layers.last(), Some(Listed::Tanh {}));
    refuse(unit && tanh, "image.range", "\"unit\"", "the generator ends in tanh, whose pixels are in [-1, 1]; use \"signed\"")?;
    refuse(
        !unit && sigmoid,
        "image.range",
        "\"signed\"",
        "the generator ends in a sigmoid, whose pixels are in [0, 1]; use \"unit\"",
    )
}

fn condition(recipe: &Recipe) -> Check {
    let semi = recipe.objective.semi_supervised;
    let Some(c) = &recipe.condition else {
        return refuse(semi, "objective.semi_supervised", true, "needs a section [condition] with kind = \"class\"");
    };
    let only_d = |place: Conditioned| matches!(place, Conditioned::Projection | Conditioned::Auxiliary);
    refuse(
        only_d(c.generator),
        "condition.generator",
        format!("{:?}", c.generator).to_lowercase(),
        "is something that a discriminator does; use \"input\" or \"every-layer\"",
    )?;
    refuse(
        !c.names.is_empty() && c.names.len() != c.size,
        "condition.names",
        format!("{} names", c.names.len()),
        &format!("condition.size is {}", c.size),
    )?;
    refuse(
        c.kind == ConditionKind::Vector && c.discriminator == Conditioned::Auxiliary,
        "condition.discriminator",
        "\"auxiliary\"",
        "there are no classes in a vector of numbers; use \"input\" or \"projection\"",
    )?;
    refuse(
        semi && (c.kind != ConditionKind::Class || c.discriminator != Conditioned::None),
        "objective.semi_supervised",
        true,
        "needs condition.kind = \"class\" and condition.discriminator = \"none\": the class is what D is to find",
    )?;
    let nowhere = c.generator == Conditioned::None && c.discriminator == Conditioned::None && !semi;
    refuse(nowhere, "condition.generator", "\"none\"", "neither network would see the condition; leave the section out")?;
    let d = &recipe.discriminator;
    refuse(
        c.discriminator == Conditioned::Projection && d.minibatch_discrimination.is_some() && d.layers.is_empty(),
        "condition.discriminator",
        "\"projection\"",
        "stands where minibatch discrimination would; use discriminator.minibatch_stddev with it",
    )
}

fn optimizer(recipe: &Recipe) -> Check {
    let o = &recipe.optimizer;
    let adam = matches!(o.rule, RuleName::Adam | RuleName::AdamW);
    refuse(adam && o.momentum > 0.0, "optimizer.momentum", o.momentum, "is for sgd and rmsprop; Adam's is optimizer.beta1")?;
    let end = o.momentum_end.unwrap_or_default();
    refuse(
        o.momentum_end.is_some() && o.momentum == 0.0,
        "optimizer.momentum_end",
        end,
        "needs optimizer.momentum to begin with, such as 0.5",
    )?;
    refuse(o.nesterov && o.rule != RuleName::Sgd, "optimizer.nesterov", true, "is for optimizer.rule = \"sgd\"")?;
    refuse(o.nesterov && o.momentum == 0.0, "optimizer.nesterov", true, "needs optimizer.momentum, such as 0.9")
}
