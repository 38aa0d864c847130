//! Flags that several commands have. One flag has one name, one kind of value and one meaning in
//! every command (a test in `commands/tests.rs` compares them all).

/// The flag that allows overwriting.
#[derive(clap::Args)]
pub struct ForceArg {
    /// Overwrite existing files.
    #[arg(long, help_heading = "Output")]
    pub force: bool,
}

/// The flag that asks for JSON.
#[derive(clap::Args)]
pub struct JsonArg {
    /// Print JSON on standard output, and nothing else there.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// The flags of commands that write files and print a report.
#[derive(clap::Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Overwrite existing files.
    #[arg(long)]
    pub force: bool,
    /// Print JSON on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// The random seed.
#[derive(clap::Args)]
pub struct SeedArg {
    /// Random seed: the same seed gives the same result, bit by bit, on the same kind of device.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = crate::parse::seed)]
    pub seed: u64,
}
