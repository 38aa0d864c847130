//! The flags of `train` that set keys of the recipe, in one table.

use super::defaults::{toy_default, with_default};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};
use nn::Recipe;
use nn::recipe::variant_names;
use serde::de::DeserializeOwned;
use toml::Value;

/// How a flag's text becomes a recipe's value.
#[derive(Clone, Copy)]
enum FlagKind {
    /// A value as TOML reads it: a number, or a name.
    Plain,
    /// Present or absent.
    Switch,
    /// One number, or two separated by a comma: a range.
    Range,
    /// Words separated by commas.
    Words,
    /// `B,C` of minibatch discrimination, then optionally its form.
    Discrimination,
    /// A kind of schedule, then `key=value` pairs, separated by commas.
    Schedule,
}

/// A flag that sets a key of the recipe.
struct Flag {
    name: &'static str,
    key: &'static str,
    /// The key's value in a recipe, also if the recipe's text omits it.
    default: fn(&Recipe) -> Option<Value>,
    form: FlagKind,
    value_name: &'static str,
    /// The help; after a colon at its end come the choices.
    help: &'static str,
    /// The names of the values of an enum.
    choices: fn() -> &'static [&'static str],
    /// The value of the flag when none is given: the usual value of its source.
    without_value: Option<&'static str>,
}

use FlagKind::{Discrimination, Plain, Range, Schedule, Switch, Words};

/// Declares the table: help heading, then for each flag its help, name, field of the recipe (`as`
/// its key, if that is named otherwise), form, the name of its value, and what it stands for
/// without a value, if it may have none.
macro_rules! flags {
    ($($heading:literal: { $(
        $(#[doc = $help:literal])+
        $name:literal => $section:ident.$field:ident $(as $key:literal)?,
            $form:ident($value:literal $(or $without:literal)?);
    )+ })+) => {
        const FLAGS: &[(&str, &[Flag])] = &[$(($heading, &[$(Flag {
            name: $name,
            key: [$($key,)? concat!(stringify!($section), ".", stringify!($field))][0],
            default: |recipe| Value::try_from(&recipe.$section.$field).ok(),
            form: $form,
            value_name: $value,
            help: concat!($($help),+),
            choices: || choices_of(|recipe| &recipe.$section.$field),
            without_value: [$(Some($without),)? None][0],
        }),+])),+];
    };
}

flags! {
    "Loss": {
        /// Adversarial loss:
        "loss" => objective.loss, Plain("NAME");
        /// Relativistic average loss: compare each logit with the mean logit of the other kind
        "relativistic" => objective.relativistic, Switch("");
        /// Weight of the WGAN-GP gradient penalty, from 0; 10 is usual
        "gradient-penalty" => objective.gradient_penalty, Plain("W");
        /// Weight of the R1 penalty (gradient on real images), from 0; 1 to 10 is usual
        "r1" => objective.r1, Plain("GAMMA");
        /// Apply R1 every N steps only, N times as strong (lazy regularization)
        "r1-every" => objective.r1_every, Plain("STEPS");
        /// Clip D's weights to ±BOUND (WGAN), 0 for no clipping; 0.01 is usual
        "clip-weights" => objective.weight_clip, Plain("BOUND");
        /// Weight of feature matching, which replaces G's adversarial loss; from 0
        "feature-matching" => objective.feature_matching, Plain("W");
        /// Norm of the feature-matching distance
        "feature-norm" => objective.feature_norm, Plain("l1|l2");
        /// Weight of the distance of both networks' weights from their past mean, from 0
        "historical-averaging" => objective.historical_averaging, Plain("W");
        /// Semi-supervised learning: D also classifies real images into their K classes
        "semi-supervised" => objective.semi_supervised, Switch("");
        /// Number of labeled images for --semi-supervised, balanced over the classes; 0 for all
        "num-labels" => objective.num_labels, Plain("N");
    }
    "Regularization": {
        /// Target label for real images, from 0 to 1: 0.9 for one-sided label smoothing, or a range
        "labels-real" => labels.real, Range("P|LOW,HIGH" or "0.9,1");
        /// Target label for generated images, from 0 to 1, or a range
        "labels-fake" => labels.fake, Range("P|LOW,HIGH" or "0,0.1");
        /// Fraction of D's labels that are flipped, from 0 to 1
        "label-flip" => labels.flip, Plain("P" or "0.05");
        /// Label real images 0 and generated ones 1
        "swap-labels" => labels.swap, Switch("");
        /// Noise: standard deviation of a Gaussian on D's input images (range -1 to 1), from 0
        "noise" => noise.input, Plain("X");
        /// Standard deviation of Gaussian noise after D's hidden layers, from 0
        "noise-layers" => discriminator.noise, Plain("STD");
        /// Number of steps over which the noise decays to 0; 0 for constant noise
        "noise-decay" => noise.decay_steps, Plain("STEPS");
        /// Dropout probability after D's hidden layers, from 0 to 1
        "dropout-d" => discriminator.dropout, Plain("P");
        /// Dropout probability after G's hidden layers, from 0 to 1
        "dropout-g" => generator.dropout, Plain("P");
        /// DiffAugment of D's inputs: color,translation,cutout,flip
        "augment" => augment.policy, Words("LIST");
        /// Group size of D's minibatch standard deviation layer, 0 for none; 4 is usual
        "minibatch-stddev" => discriminator.minibatch_stddev, Plain("GROUP");
        /// Minibatch discrimination with B kernels of C dimensions; FORM is paper, mean or code
        "minibatch-discrimination" => discriminator.minibatch_discrimination,
            Discrimination("B,C[,FORM]" or "100,5");
    }
    "Model": {
        /// Normalization in G:
        "norm-g" => generator.norm, Plain("NAME");
        /// Normalization in D: batch, instance, layer or none
        "norm-d" => discriminator.norm, Plain("NAME");
        /// Weight parametrization in G:
        "parametrization-g" => generator.parametrization, Plain("NAME");
        /// Weight parametrization in D:
        "parametrization-d" => discriminator.parametrization, Plain("NAME");
        /// Self-attention in G at the feature map of SIDE pixels, 0 for none
        "attention-g" => generator.attention, Plain("SIDE");
        /// Self-attention in D at the feature map of SIDE pixels, 0 for none
        "attention-d" => discriminator.attention, Plain("SIDE");
        /// Upsampling in G: transposed (convolutions) or nearest (neighbor, then a convolution)
        "upsample" => generator.upsample, Plain("NAME");
        /// Downsampling in D: strided (convolutions), max-pool or average-pool
        "downsample" => discriminator.downsample, Plain("NAME");
        /// Output layer of D:
        "head" => discriminator.head, Plain("NAME");
        /// Weight initialization:
        "init" => init.scheme, Plain("NAME");
    }
    "Optimizer": {
        /// Optimizer:
        "optimizer" => optimizer.kind as "optimizer.type", Plain("NAME");
        /// Learning rate of D, if it differs from --lr (TTUR)
        "lr-d" => optimizer.lr_discriminator, Plain("X");
        /// Adam's decay of the first moment, from 0 to 1
        "beta1" => optimizer.beta1, Plain("X");
        /// Decay of the second moment in Adam and RMSProp, from 0 to 1
        "beta2" => optimizer.beta2, Plain("X");
        /// Momentum of SGD and RMSProp, from 0 to 1
        "momentum" => optimizer.momentum, Plain("X");
        /// Momentum at the end of the run, reached linearly, from 0 to 1
        "momentum-end" => optimizer.momentum_end, Plain("X");
        /// Nesterov momentum
        "nesterov" => optimizer.nesterov, Switch("");
        /// Weight decay, from 0: an L2 penalty, decoupled in adamw
        "weight-decay" => optimizer.weight_decay, Plain("X");
        /// Maximum norm of each network's gradient, 0 for no clipping
        "clip-gradient" => optimizer.clip_gradient, Plain("NORM");
        /// Learning rate schedule: constant, linear,from=0.5, step,every=1000,factor=0.5 or cosine,
        /// each also with warmup=STEPS
        "schedule" => optimizer.schedule, Schedule("KIND[,KEY=X]");
        /// Updates of D per step, each on its own batch, from 1
        "d-steps" => train.d_steps, Plain("N");
        /// Updates of G per step, from 1
        "g-steps" => train.g_steps, Plain("N");
        /// Which network is updated first in a step:
        "update-order" => train.update_order, Plain("ORDER");
        /// Draw new latent vectors z for every update instead of every step
        "resample-z" => train.resample_z, Switch("");
        /// Use a separate batch for every update, those of G included
        "separate-batches" => train.separate_batches, Switch("");
        /// Gradient accumulation: compute each batch in N parts, in a fraction of the memory; batch
        /// statistics are those of a part
        "accumulate" => train.accumulate, Plain("N");
        /// Whether batch statistics are those of all processes (MPI), or of each one's images
        "sync-batch-norm" => train.sync_batch_norm, Plain("true|false");
    }
}

/// The flag that sets any key by its name.
const SET: &str = "set";

/// The recipe keys that the flags set, with the TOML of their values: in the order of the table,
/// `--set` last.
#[derive(Debug, Default)]
pub struct RecipeFlags {
    /// Key and value.
    pub changes: Vec<(String, String)>,
    /// The flags on the command line.
    pub flags: Vec<String>,
}

/// The names of the values of a field that is an enum.
fn choices_of<T: DeserializeOwned>(_: fn(&Recipe) -> &T) -> &'static [&'static str] {
    variant_names::<T>()
}

fn flags() -> impl Iterator<Item = (&'static str, &'static Flag)> {
    FLAGS.iter().flat_map(|(heading, flags)| flags.iter().map(move |flag| (*heading, flag)))
}

/// The value of a key in a recipe, if a flag sets that key.
pub fn default_of(recipe: &Recipe, key: &str) -> Option<Value> {
    flags().find(|(_, flag)| flag.key == key).and_then(|(_, flag)| (flag.default)(recipe))
}

/// Whether a flag sets a key of the recipe.
#[cfg(test)]
pub fn is_recipe_flag(name: &str) -> bool {
    flags().any(|(_, flag)| flag.name == name)
}

fn value(form: FlagKind, text: &str) -> Result<String, String> {
    let values =
        || text.split(',').map(|part| part.trim().parse::<f64>()).collect::<Result<Vec<_>, _>>();
    match form {
        Plain => Ok(text.to_owned()),
        Switch => Ok("true".to_owned()),
        Range => match values().as_deref() {
            Ok([one]) => Ok(format!("[{one:?}, {one:?}]")),
            Ok([low, high]) => Ok(format!("[{low:?}, {high:?}]")),
            _ => Err("give one number, or two with a comma between them, as in 0.9,1".into()),
        },
        Words => Ok(format!(
            "{:?}",
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect::<Vec<_>>()
        )),
        Discrimination => {
            let mut parts = text.split(',').map(str::trim);
            let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok());
            match (number(), number(), parts.next(), parts.next()) {
                (Some(kernels), Some(dims), form, None) => {
                    let form = form.map_or_else(String::new, |form| format!(", form = {form:?}"));
                    Ok(format!("{{ kernels = {kernels}, dims = {dims}{form} }}"))
                }
                _ => Err("give the number of kernels and their dimensions, as in 100,5, and \
                          optionally the form: 100,5,mean"
                    .into()),
            }
        }
        Schedule => {
            let mut parts = text.split(',').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let keys: Vec<String> = parts.map(|part| format!(", {part}")).collect();
            if keys.iter().any(|key| !key.contains('=')) {
                return Err("give a kind and keys, as in linear,from=0.5".into());
            }
            Ok(format!("{{ kind = {kind:?}{} }}", keys.concat()))
        }
    }
}

/// Keys that shape images, or need images to have labels: points of the toy have neither.
const IMAGE_KEYS: [&str; 16] = [
    "train.accumulate",
    "train.sync_batch_norm",
    "objective.semi_supervised",
    "objective.num_labels",
    "augment.policy",
    "discriminator.noise",
    "discriminator.dropout",
    "generator.dropout",
    "generator.attention",
    "discriminator.attention",
    "generator.upsample",
    "discriminator.downsample",
    "discriminator.head",
    "init.scheme",
    "train.resample_z",
    "train.separate_batches",
];

impl Flag {
    fn is_for_toy(&self) -> bool {
        !IMAGE_KEYS.contains(&self.key)
    }
}

/// The same flags for points of the plane: those that do not depend on images, with the toy's
/// defaults.
#[derive(Debug, Default)]
pub struct ToyRecipeFlags(RecipeFlags);

impl ToyRecipeFlags {
    /// The recipe keys that the flags set, with the TOML of their values.
    pub fn changes(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.0.changes.iter().cloned()
    }
}

impl Args for ToyRecipeFlags {
    fn augment_args(command: Command) -> Command {
        flags().filter(|(_, flag)| flag.is_for_toy()).fold(command, |command, (heading, flag)| {
            // Width and form of the minibatch layer were chosen for networks this small; with the
            // paper's sum over the batch no mode is ever held.
            let without_value = match flag.name {
                "minibatch-discrimination" => Some("16,4,mean"),
                _ => flag.without_value,
            };
            command.arg(arg(heading, flag, without_value, toy_default))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ToyRecipeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut parsed = Self::default();
        parsed.update_from_arg_matches(matches)?;
        Ok(parsed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.read(matches, Flag::is_for_toy);
        Ok(())
    }
}

/// The clap argument of a flag; `with_default` adds the default of its key to the help.
fn arg(
    heading: &'static str,
    flag: &'static Flag,
    without_value: Option<&'static str>,
    with_default: fn(&str, &str) -> String,
) -> Arg {
    let form = flag.form;
    let help = match (flag.help.trim_start(), (flag.choices)()) {
        (help, [names @ .., last]) if help.ends_with(':') => {
            format!("{help} {} or {last}", names.join(", "))
        }
        (help, _) => help.to_owned(),
    };
    let arg = Arg::new(flag.name).long(flag.name).help_heading(heading);
    if let Switch = form {
        return arg.action(ArgAction::SetTrue).help(help);
    }
    let (arg, without) = match without_value {
        Some(value) => {
            (arg.num_args(0..=1).default_missing_value(value), format!("; without a value {value}"))
        }
        None => (arg, String::new()),
    };
    arg.value_name(flag.value_name)
        .allow_negative_numbers(true)
        .value_parser(move |text: &str| value(form, text))
        .help(with_default(&format!("{help}{without}"), flag.key))
}

impl RecipeFlags {
    /// Adds the flags on the command line that `includes`.
    fn read(&mut self, matches: &ArgMatches, includes: fn(&Flag) -> bool) {
        for (_, flag) in flags().filter(|(_, flag)| includes(flag)) {
            let text = match flag.form {
                Switch => matches.get_flag(flag.name).then(|| "true".to_owned()),
                _ => matches.get_one::<String>(flag.name).cloned(),
            };
            if let Some(text) = text {
                self.changes.push((flag.key.to_owned(), text));
                self.flags.push(format!("--{}", flag.name));
            }
        }
    }
}

impl Args for RecipeFlags {
    fn augment_args(command: Command) -> Command {
        let command = flags().fold(command, |command, (heading, flag)| {
            command.arg(arg(heading, flag, flag.without_value, with_default))
        });
        command.arg(
            Arg::new(SET)
                .long(SET)
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Set any key of the recipe, such as optimizer.eps=1e-7 (repeatable)")
                .help_heading("Training"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RecipeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut parsed = Self::default();
        parsed.update_from_arg_matches(matches)?;
        Ok(parsed)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.read(matches, |_| true);
        for pair in matches.get_many::<String>(SET).into_iter().flatten() {
            let Some((key, text)) = pair.split_once('=') else {
                let message =
                    format!("--set {pair}: give a key and its value, as in optimizer.eps=1e-7\n");
                return Err(Error::raw(clap::error::ErrorKind::InvalidValue, message));
            };
            self.changes.push((key.trim().to_owned(), text.trim().to_owned()));
            self.flags.push("--set".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn::loss::Labels;

    #[test]
    fn every_flag_is_a_key_of_the_recipe() {
        let recipe = Recipe::preset("torch").unwrap();
        for (_, Flag { name, key, form, .. }) in flags() {
            let examples: &[&str] = match form {
                Plain => &[
                    "1",
                    "0.5",
                    "hinge",
                    "l1",
                    "layer",
                    "spectral-norm",
                    "nearest",
                    "max-pool",
                    "linear",
                    "orthogonal",
                    "sgd",
                    "generator",
                    "true",
                ],
                Switch => &[""],
                Range => &["0.9", "0.8,1"],
                Words => &["color,flip"],
                Discrimination => &["100,5"],
                Schedule => &["cosine", "linear,from=0.5"],
            };
            // A key that does not exist, or a form that never fits it, would be refused as such
            // whatever the value.
            let known = examples.iter().any(|text| {
                let text = value(*form, text).unwrap();
                match recipe.with(&[((*key).to_owned(), text)]) {
                    Ok(_) => true,
                    Err(error) => {
                        !error.to_string().contains("unknown key")
                            && !error.to_string().contains("invalid type")
                    }
                }
            });
            assert!(known, "--{name}: {key}");
        }
        assert!(recipe.with(&[("objective.nothing".to_owned(), "1".to_owned())]).is_err());
    }

    #[test]
    fn flags_without_a_value_stand_for_the_usual_one() {
        let parse = |words: &[&str]| {
            let command = RecipeFlags::augment_args(Command::new("train"))
                .arg(Arg::new("steps").long("steps"));
            let matches = command.try_get_matches_from([&["train"], words].concat()).unwrap();
            RecipeFlags::from_arg_matches(&matches).unwrap().changes
        };
        let found = parse(&[
            "--label-flip",
            "--labels-real",
            "--labels-fake",
            "--minibatch-discrimination",
            "--steps",
            "5",
        ]);
        let recipe = Recipe::preset("torch").unwrap().with(&found).unwrap();
        let noisy = Labels { real: [0.9, 1.0], fake: [0.0, 0.1], flip: 0.05, swap: false };
        assert_eq!(recipe.labels, noisy);
        let own = recipe.discriminator.minibatch_discrimination.unwrap();
        assert_eq!(
            (own.kernels, own.dims, own.form),
            (100, 5, nn::layers::MinibatchForm::default())
        );
        assert_eq!(
            parse(&["--label-flip", "0.2", "--steps", "5"]),
            [("labels.flip".to_owned(), "0.2".to_owned())]
        );
    }

    #[test]
    fn texts_become_values() {
        assert_eq!(value(Range, "0.9").unwrap(), "[0.9, 0.9]");
        assert_eq!(value(Range, "0,0.1").unwrap(), "[0.0, 0.1]");
        assert!(value(Range, "a").is_err() && value(Range, "1,2,3").is_err());
        assert_eq!(value(Discrimination, "100,5").unwrap(), "{ kernels = 100, dims = 5 }");
        assert_eq!(
            value(Discrimination, "100,5, mean").unwrap(),
            "{ kernels = 100, dims = 5, form = \"mean\" }"
        );
        assert!(
            value(Discrimination, "100").is_err() && value(Discrimination, "100,5,mean,1").is_err()
        );
        assert_eq!(value(Words, "color, flip").unwrap(), "[\"color\", \"flip\"]");
        assert_eq!(value(Schedule, "linear,from=0.5").unwrap(), "{ kind = \"linear\", from=0.5 }");
        assert!(value(Schedule, "linear,0.5").is_err());
    }
}
