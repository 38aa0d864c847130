//! The flags of `train` that are keys of the recipe: one table says both.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// How a flag's text becomes a recipe's value.
#[derive(Clone, Copy)]
enum Form {
    /// As TOML reads it: a number, or a name.
    Plain,
    /// There or not.
    Switch,
    /// One number, or two with a comma: a range.
    Range,
    /// Words with commas.
    Words,
    /// `B,C` of minibatch discrimination, and behind it which form.
    Discrimination,
    /// A kind of schedule, and `key=value` pairs behind it, with commas.
    Schedule,
}

/// Flag, key, form, what stands for the value in the help, and the help.
type Row = (&'static str, &'static str, Form, &'static str, &'static str);

use Form::{Discrimination, Plain, Range, Schedule, Switch, Words};

const LOSS: &str = "Loss";
const REGULARIZATION: &str = "Regularization";
const MODEL: &str = "Model";
const OPTIMIZER: &str = "Optimizer";

const ROWS: [(&str, &[Row]); 4] = [
    (
        LOSS,
        &[
            (
                "loss",
                "objective.loss",
                Plain,
                "NAME",
                "minimax, non-saturating, least-squares, hinge or wasserstein",
            ),
            (
                "relativistic",
                "objective.relativistic",
                Switch,
                "",
                "Compare each logit with the mean of the other kind (relativistic average)",
            ),
            (
                "gradient-penalty",
                "objective.gradient_penalty",
                Plain,
                "W",
                "Weight of the gradient penalty between real and generated pictures; 10 is usual",
            ),
            (
                "r1",
                "objective.r1",
                Plain,
                "GAMMA",
                "Strength of the gradient penalty on real pictures (R1); 1 to 10 is usual",
            ),
            (
                "r1-every",
                "objective.r1_every",
                Plain,
                "STEPS",
                "R1 in every so many steps only, times as strong",
            ),
            (
                "clip-weights",
                "objective.clip",
                Plain,
                "BOUND",
                "Bound of D's weights, for the Wasserstein loss; 0.01 is usual",
            ),
            (
                "feature-matching",
                "objective.feature_matching",
                Plain,
                "W",
                "G matches the mean features of D, in place of its adversarial loss",
            ),
            ("feature-norm", "objective.feature_norm", Plain, "l1|l2", "How features are compared"),
            (
                "historical-averaging",
                "objective.historical_averaging",
                Plain,
                "W",
                "Weight of the distance of both networks from the mean of their past",
            ),
            (
                "semi-supervised",
                "objective.semi_supervised",
                Switch,
                "",
                "D learns the labels, too: K classes, and generated pictures as one more",
            ),
            (
                "num-labels",
                "objective.labelled",
                Plain,
                "N",
                "The labels of so many pictures only, of each class as many, for --semi-supervised; 0 is all",
            ),
        ],
    ),
    (
        REGULARIZATION,
        &[
            (
                "labels-real",
                "labels.real",
                Range,
                "P|LOW,HIGH",
                "What D is told of real pictures: 0.9 for one-sided smoothing, LOW,HIGH for a range",
            ),
            (
                "labels-fake",
                "labels.fake",
                Range,
                "P|LOW,HIGH",
                "What D is told of generated pictures",
            ),
            ("label-flip", "labels.flip", Plain, "P", "Share of labels that are wrong on purpose"),
            ("swap-labels", "labels.swap", Switch, "", "Call real pictures 0 and generated ones 1"),
            ("noise", "noise.input", Plain, "STD", "Gaussian noise on all pictures that D sees"),
            (
                "noise-layers",
                "discriminator.noise",
                Plain,
                "STD",
                "Gaussian noise after D's hidden layers",
            ),
            (
                "noise-decay",
                "noise.decay_steps",
                Plain,
                "STEPS",
                "Steps until the noise has fallen to nothing",
            ),
            (
                "dropout-d",
                "discriminator.dropout",
                Plain,
                "P",
                "Share of the numbers dropped after D's hidden layers",
            ),
            (
                "dropout-g",
                "generator.dropout",
                Plain,
                "P",
                "Share of the numbers dropped after G's hidden layers",
            ),
            (
                "augment",
                "augment.policy",
                Words,
                "LIST",
                "Changes to all pictures that D sees, real or generated: color,translation,cutout,flip",
            ),
            (
                "minibatch-stddev",
                "discriminator.minibatch_stddev",
                Plain,
                "GROUP",
                "Show D how far the pictures of a group differ; 4 is usual",
            ),
            (
                "minibatch-discrimination",
                "discriminator.minibatch_discrimination",
                Discrimination,
                "B,C[,FORM]",
                "Show D how near pictures of a batch are to one another, in the form paper, mean or code",
            ),
        ],
    ),
    (
        MODEL,
        &[
            (
                "norm-g",
                "generator.norm",
                Plain,
                "NAME",
                "batch, instance, layer, virtual-batch or none",
            ),
            ("norm-d", "discriminator.norm", Plain, "NAME", "batch, instance, layer or none"),
            (
                "parametrization-g",
                "generator.weights",
                Plain,
                "NAME",
                "plain, spectral-norm or weight-norm",
            ),
            (
                "parametrization-d",
                "discriminator.weights",
                Plain,
                "NAME",
                "plain, spectral-norm or weight-norm",
            ),
            (
                "attention-g",
                "generator.attention",
                Plain,
                "SIDE",
                "Self-attention in G at the hidden image of this size",
            ),
            (
                "attention-d",
                "discriminator.attention",
                Plain,
                "SIDE",
                "Self-attention in D at the hidden image of this size",
            ),
            (
                "upsample",
                "generator.upsample",
                Plain,
                "NAME",
                "transposed (convolutions) or nearest (and a convolution)",
            ),
            (
                "downsample",
                "discriminator.downsample",
                Plain,
                "NAME",
                "strided (convolutions), max-pool or average-pool",
            ),
            ("head", "discriminator.head", Plain, "NAME", "conv, linear or global-average"),
            (
                "init",
                "init.scheme",
                Plain,
                "NAME",
                "normal, truncated-convolutions, orthogonal or glorot",
            ),
        ],
    ),
    (
        OPTIMIZER,
        &[
            ("optimizer", "optimizer.rule", Plain, "NAME", "adam, adamw, sgd or rmsprop"),
            (
                "lr-d",
                "optimizer.lr_discriminator",
                Plain,
                "X",
                "D's own learning rate (two time-scale updates)",
            ),
            ("beta1", "optimizer.beta1", Plain, "X", "Adam's first decay"),
            ("beta2", "optimizer.beta2", Plain, "X", "Adam's second decay, or RMSProp's"),
            ("momentum", "optimizer.momentum", Plain, "X", "Momentum of sgd and rmsprop"),
            (
                "momentum-end",
                "optimizer.momentum_end",
                Plain,
                "X",
                "What momentum becomes by the end of the run, in a straight line",
            ),
            ("nesterov", "optimizer.nesterov", Switch, "", "Nesterov's momentum"),
            ("weight-decay", "optimizer.weight_decay", Plain, "X", "L2 penalty"),
            (
                "clip-gradient",
                "optimizer.clip_gradient",
                Plain,
                "NORM",
                "Largest norm of a network's gradient",
            ),
            (
                "schedule",
                "optimizer.schedule",
                Schedule,
                "KIND[,KEY=X]",
                "constant, linear,from=0.5, step,every=1000,factor=0.5 or cosine; each also with warmup=STEPS",
            ),
            (
                "d-steps",
                "train.d_steps",
                Plain,
                "N",
                "Updates of D in a step, each on pictures of its own",
            ),
            ("g-steps", "train.g_steps", Plain, "N", "Updates of G in a step"),
            (
                "update-order",
                "train.first",
                Plain,
                "PLAYER",
                "discriminator or generator: which is updated first in a step",
            ),
            (
                "resample-z",
                "train.fresh_latents",
                Switch,
                "",
                "Every update draws latent vectors of its own",
            ),
            (
                "separate-batches",
                "train.alternate",
                Switch,
                "",
                "Every update has pictures of its own, those of G, too",
            ),
        ],
    ),
];

/// Any key by its name.
const SET: &str = "set";

/// What the flags change: keys of the recipe with the TOML of their values, in the order of the table, `--set` last.
#[derive(Debug, Default)]
pub struct RecipeFlags {
    /// Key and value.
    pub changes: Vec<(String, String)>,
    /// The flags that were given.
    pub flags: Vec<String>,
}

/// What a flag stands for where it has no value: the usual one of its source.
fn value_without_argument(flag: &str) -> Option<&'static str> {
    match flag {
        "labels-real" => Some("0.9,1"),
        "labels-fake" => Some("0,0.1"),
        "label-flip" => Some("0.05"),
        "minibatch-discrimination" => Some("100,5"),
        _ => None,
    }
}

fn rows() -> impl Iterator<Item = (&'static str, &'static Row)> {
    ROWS.iter().flat_map(|(heading, rows)| rows.iter().map(move |row| (*heading, row)))
}

fn value(form: Form, text: &str) -> Result<String, String> {
    let numbers =
        || text.split(',').map(|part| part.trim().parse::<f64>()).collect::<Result<Vec<_>, _>>();
    match form {
        Plain => Ok(text.to_owned()),
        Switch => Ok("true".to_owned()),
        Range => match numbers().as_deref() {
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
                _ => Err("give the numbers of kernels and of dimensions, as in 100,5, and the form where it is not the paper's: 100,5,mean".into()),
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

impl Args for RecipeFlags {
    fn augment_args(command: Command) -> Command {
        let command = rows().fold(command, |command, (heading, &(flag, _, form, name, help))| {
            let usual = value_without_argument(flag);
            let told = usual.map_or_else(String::new, |usual| format!("; alone {usual}"));
            let arg = Arg::new(flag)
                .long(flag)
                .help(format!("{help}{told} [default: the recipe's]"))
                .help_heading(heading);
            let arg = match usual {
                Some(usual) => arg.num_args(0..=1).default_missing_value(usual),
                None => arg,
            };
            command.arg(match form {
                Switch => arg.action(ArgAction::SetTrue).help(help),
                _ => arg
                    .value_name(name)
                    .allow_negative_numbers(true)
                    .value_parser(move |text: &str| value(form, text)),
            })
        });
        command.arg(
            Arg::new(SET)
                .long(SET)
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Any key of the recipe, such as optimizer.eps=1e-7; dcgan recipes NAME shows them")
                .help_heading("Training"),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RecipeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for (_, &(flag, key, form, ..)) in rows() {
            let given = match form {
                Switch => matches.get_flag(flag).then(|| "true".to_owned()),
                _ => matches.get_one::<String>(flag).cloned(),
            };
            if let Some(text) = given {
                self.changes.push((key.to_owned(), text));
                self.flags.push(format!("--{flag}"));
            }
        }
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
    use nn::Recipe;
    use nn::loss::Labels;

    #[test]
    fn every_flag_is_a_key_of_the_recipe() {
        let recipe = Recipe::preset("torch").unwrap();
        for (_, (flag, key, form, ..)) in rows() {
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
                ],
                Switch => &[""],
                Range => &["0.9", "0.8,1"],
                Words => &["color,flip"],
                Discrimination => &["100,5"],
                Schedule => &["cosine", "linear,from=0.5"],
            };
            // A key that does not exist, or a form that never fits it, would be refused as such whatever the value.
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
            assert!(known, "--{flag}: {key}");
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
        assert_eq!(recipe.labels, Labels::NOISY);
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
