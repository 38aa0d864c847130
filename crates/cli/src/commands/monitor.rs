//! What `train` does about what goes wrong: flags.

use clap::ValueEnum;
use train::monitor::{AlertAction, MonitorConfig, NanAction};

/// When a number is not finite.
#[derive(Clone, Copy, ValueEnum)]
pub enum NanChoice {
    /// Go back to the newest good checkpoint, with half the learning rate, at most three times.
    Rollback,
    /// End.
    Stop,
}

/// Anything else.
#[derive(Clone, Copy, ValueEnum)]
pub enum Choice {
    /// Say so and go on.
    Warn,
    /// Say so, save and stop, with exit code 3.
    Stop,
}

impl From<Choice> for AlertAction {
    fn from(choice: Choice) -> Self {
        match choice {
            Choice::Warn => Self::Warn,
            Choice::Stop => Self::Stop,
        }
    }
}

/// Flags of the watch.
#[derive(clap::Args)]
pub struct MonitorArgs {
    /// When a loss, gradient or weight is no number: go back to the newest good checkpoint with half the learning rate (at most three
    /// times), or end [default: rollback].
    #[arg(long, value_enum, help_heading = "Monitoring")]
    on_nan: Option<NanChoice>,
    /// When the pictures become all alike, or one pattern [default: warn].
    #[arg(long, value_enum, help_heading = "Monitoring")]
    on_collapse: Option<Choice>,
    /// When the discriminator is hardly ever wrong any more, or the generator's gradient has vanished [default: warn].
    #[arg(long, value_enum, help_heading = "Monitoring")]
    on_d_dominance: Option<Choice>,
}

impl MonitorArgs {
    /// These flags, and what was set before where there are none.
    pub fn onto(&self, before: MonitorConfig) -> MonitorConfig {
        let on_nan = self.on_nan.map_or(before.on_nan, |choice| match choice {
            NanChoice::Rollback => NanAction::Rollback,
            NanChoice::Stop => NanAction::Stop,
        });
        MonitorConfig {
            on_nan,
            on_collapse: self.on_collapse.map_or(before.on_collapse, AlertAction::from),
            on_d_dominance: self.on_d_dominance.map_or(before.on_d_dominance, AlertAction::from),
        }
    }
}
