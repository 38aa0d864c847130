//! `golden` and `ci`, which run other programs; the repository's folder.

use clap::Args;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Regenerate the golden files with PyTorch (see xtask/golden/README.md).
#[derive(Args)]
pub struct Golden {
    /// A Python with torch, numpy, safetensors, scikit-learn, torch-fidelity, pytorch-fid,
    /// clean-fid, torchvision, onnx and onnxruntime.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
}

/// Run everything that a change must pass: formatting, lints, tests.
#[derive(Args)]
pub struct Ci {}

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

pub fn call(program: &Path, arguments: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let shown = format!("{} {}", program.display(), arguments.join(" "));
    println!("> {shown}");
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .status()
        .map_err(|e| format!("cannot run `{shown}`: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed: {status}").into()) }
}

/// Runs the generators of golden files.
pub fn golden(options: &Golden) -> Result<(), Box<dyn std::error::Error>> {
    "ops networks layers losses recipes trajectory objectives metrics inception interpret svm \
     onnx_file"
        .split(' ')
        .try_for_each(|script| call(&options.python, &[&format!("xtask/golden/{script}.py")]))
}

/// Runs `.ci/run`.
pub fn ci() -> Result<(), Box<dyn std::error::Error>> {
    call(Path::new("bash"), &[".ci/run"])
}

/// The absolute path of `given`, or of `dcgan`, which is then built in release mode.
pub fn dcgan(given: Option<&Path>) -> Result<PathBuf, Box<dyn std::error::Error>> {
    if let Some(file) = given {
        let found = std::fs::canonicalize(file);
        return Ok(found.map_err(|e| format!("cannot find {}: {e}", file.display()))?);
    }
    let features: &[&str] =
        if cfg!(feature = "mpi") { &["--features", "mpi,fault-injection"] } else { &[] };
    let build = ["build", "--release", "--locked", "--package", "cli"];
    call(Path::new("cargo"), &[&build, features].concat())?;
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Ok(root().join(target).join("release").join(format!("dcgan{}", std::env::consts::EXE_SUFFIX)))
}
