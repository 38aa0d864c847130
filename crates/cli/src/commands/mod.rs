//! The commands. Each is a file with its `Args` and a function `run`; the list below registers it.

mod checkpoint;
mod data;
mod device;
mod devices;
mod eval;
mod export;
mod export_html;
mod files;
mod flags;
mod generator;
mod import;
mod info;
mod interpret;
mod latent;
mod memorization;
mod monitor;
mod preprocess;
mod recipes;
mod representation;
mod runs;
mod sample;
mod studio;
#[cfg(test)]
mod tests;
mod toy;
mod train;

use crate::distributed;
use crate::error::CliError;
use checkpoint::{CheckpointArgs, ModelArgs, open_checkpoint, warn_skipped};
use clap::Subcommand;
use device::DeviceArgs;
use files::{
    OutputFile, refuse_existing, require_file, require_files, require_folder, require_grid,
};
use flags::{ForceArg, JsonArg, OutputArgs, SeedArg};
use generator::{ConditionArgs, ConditionSet, GeneratorArgs, LoadedGenerator, condition_name};
use preprocess::{DatasetInfo, PreprocessArgs, open_dataset, open_for_recipe};
use std::process::{ExitCode, Termination};

/// Declares the commands by task: `"Task": { /// Help. Name(module), … }`, where `module` has
/// `Args` and `run(&Args) -> Result<impl Termination, CliError>`.
macro_rules! commands {
    ($($task:literal: { $($(#[$attribute:meta])* $name:ident($($module:ident)::+),)+ })+) => {
        /// A command with its flags.
        #[derive(Subcommand)]
        pub enum Command {
            $($($(#[$attribute])* $name(Box<$($module)::+::Args>),)+)+
        }

        impl Command {
            /// Runs the command and returns its exit code.
            pub fn run(&self) -> Result<ExitCode, CliError> {
                Ok(match self {
                    $($(Self::$name(args) => $($module)::+::run(args)?.report(),)+)+
                })
            }
        }

        /// Tasks, each with the number of its commands, in the order of the list.
        const TASKS: &[(&str, usize)] = &[$(($task, [$(stringify!($name)),+].len())),+];
    };
}

commands! {
    "Train": {
        /// Train a generator and a discriminator on images.
        #[command(after_long_help = train::EXAMPLES)]
        Train(train),
        /// List and compare the runs of a folder.
        Runs(runs),
        /// Show what a checkpoint contains, or how an image was generated.
        Info(info),
        /// List the built-in recipes, or print one in full.
        Recipes(recipes),
        /// List the CPU and the GPUs that can be used.
        Devices(devices),
    }
    "Look": {
        /// Open a page with the runs, live while they train, and their generators.
        Studio(studio),
        /// Generate images with a trained generator.
        Sample(sample),
        /// Interpolate in latent space (memorization check).
        Walk(latent::walk),
        /// Latent vector arithmetic: generate A − B + C.
        Arithmetic(latent::arithmetic),
        /// Move images along a direction in latent space (turn vector).
        Turn(latent::turn),
        /// Find the latent vector of an image.
        Invert(latent::invert),
        /// Inpaint, enlarge or denoise an image with a generator as the prior.
        Restore(latent::restore),
        /// Reproduce an image from the metadata in its PNG.
        Reproduce(latent::reproduce),
    }
    "Measure": {
        /// Compute Fréchet distance (FID), kernel distance (KID), precision, recall and others.
        Eval(eval),
        /// Train a linear SVM on a discriminator's features and compare it with baselines.
        LinearProbe(representation::linear_probe),
        /// Find the training images nearest to generated ones.
        Nearest(memorization::nearest),
    }
    "Study": {
        /// Draw the first-layer filters of a network.
        Filters(interpret::filters),
        /// Show what discriminator features respond to, by guided backpropagation.
        Guided(interpret::guided),
        /// Remove an object from generated images by dropping feature maps.
        Forget(interpret::forget),
        /// Write a discriminator's features of images to a file.
        Features(representation::features),
        /// Train GANs on 2-D data in seconds, with every step drawn.
        Toy(toy),
    }
    "Data": {
        /// Inspect, fetch and prepare datasets.
        #[command(after_help = format!("Datasets:\n{}", data::format_help()))]
        Data(data),
        /// Find and remove duplicate images, with the codes of an autoencoder.
        Dedup(memorization::dedup),
    }
    "Share": {
        /// Write a checkpoint's networks as PyTorch state dicts.
        Export(export),
        /// Make a run directory from weights of another program.
        Import(import),
    }
}

impl Command {
    /// Refuses several ranks for a command that does not share its work among them.
    pub fn check_ranks(&self, name: &str) -> Result<(), CliError> {
        let ranks = distributed::ranks().group().world_size();
        let shares = match self {
            Self::Eval(args) => args.shares_work(),
            Self::Train(_) | Self::Sample(_) | Self::Features(_) => true,
            _ => false,
        };
        if ranks > 1 && !shares {
            return Err(usage!(
                "dcgan {name} does not share its work among processes, and {ranks} were \
                 started: start it without mpirun or srun"
            ));
        }
        Ok(())
    }
}

/// Adapts the help: `dcgan --help` lists the commands by task, where clap has one flat list, and
/// `dcgan train -h` (`short`) shows the flags for a first run, a line each, on one screen.
pub fn with_help(command: clap::Command, short: bool) -> clap::Command {
    // `mut_subcommand` moves its command to the end of the list, so the template comes first.
    let template = help_template(&command);
    let command = command.help_template(template);
    command.mut_subcommand("train", |train| {
        let train = train.mut_args(|arg| {
            let hidden = !train::SHORT_HELP.contains(&arg.get_id().as_str());
            arg.hide_short_help(hidden)
        });
        if !short {
            return train;
        }
        // clap has one template for both forms of help, and `{options}` leaves out the headings.
        train
            .help_template("{usage-heading} {usage}\n{options}")
            .mut_arg("condition", |arg| arg.value_name("KIND|FILE"))
            .mut_arg("flip", |arg| arg.hide_possible_values(true))
    })
}

fn help_template(command: &clap::Command) -> String {
    let styles = command.get_styles();
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let width = command.get_subcommands().map(|command| command.get_name().len()).max();
    let width = width.unwrap_or(0);
    let mut commands = command.get_subcommands();
    let mut template = String::from("{about}\n\n{usage-heading} {usage}\n");
    for (task, count) in TASKS {
        template += &format!("\n{header}{task}:{header:#}\n");
        for command in commands.by_ref().take(*count) {
            let about = command.get_about().cloned().unwrap_or_default();
            template += &format!("  {literal}{:<width$}{literal:#}  {about}\n", command.get_name());
        }
    }
    template + &format!("\n{header}Options:{header:#}\n{{options}}{{after-help}}")
}
