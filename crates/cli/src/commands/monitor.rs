//! Flags of the training monitor: what `train` does on NaN, mode collapse and discriminator
//! dominance.

use train::monitor::{AlertAction, MonitorConfig, NanAction};

/// Flags of the training monitor.
#[derive(clap::Args)]
#[command(next_help_heading = "Monitoring")]
pub struct MonitorArgs {
    /// What to do if a loss, gradient or weight is NaN or infinite [default: rollback].
    #[arg(long, value_enum)]
    on_nan: Option<NanAction>,
    /// What to do on mode collapse: images all alike, or one periodic pattern [default: warn].
    #[arg(long, value_enum)]
    on_collapse: Option<AlertAction>,
    /// What to do if the discriminator is almost always right, or the generator's gradient vanishes
    /// [default: warn].
    #[arg(long, value_enum)]
    on_d_dominance: Option<AlertAction>,
}

impl MonitorArgs {
    /// The configuration with these flags applied to `config`.
    pub fn apply(&self, config: MonitorConfig) -> MonitorConfig {
        MonitorConfig {
            on_nan: self.on_nan.unwrap_or(config.on_nan),
            on_collapse: self.on_collapse.unwrap_or(config.on_collapse),
            on_d_dominance: self.on_d_dominance.unwrap_or(config.on_d_dominance),
        }
    }
}
