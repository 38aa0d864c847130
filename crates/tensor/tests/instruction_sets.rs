//! Every instruction set of this processor gives the same results. A process uses one, so each runs
//! in a process of its own: this test program again, with environment variables that select what to
//! do.

mod common;

use common::{error, numerics_env, workload};
use std::path::{Path, PathBuf};
use std::process::Command;
use tensor::{Device, Isa, IsaError, isa, set_isa};

/// The file that a child writes its results to.
const OUT: &str = "TENSOR_TEST_OUT";

/// The test that children run; without the variable it does nothing.
#[test]
fn child() {
    let Some(out) = std::env::var_os(OUT) else { return };
    numerics_env::apply().unwrap();
    let results = workload::kernels(&Device::Cpu);
    let values = results.iter().flat_map(|(_, t)| t.to_vec()).flat_map(f32::to_le_bytes);
    let bytes: Vec<u8> =
        isa().to_string().into_bytes().into_iter().chain([b'\n']).chain(values).collect();
    std::fs::write(out, bytes).unwrap();
}

/// The results of a child with `DCGAN_SIMD=name`.
fn run_child(name: &str) -> Vec<u8> {
    let out: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("instruction-set-{}-{name}", std::process::id()));
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--test-threads", "1"])
        .env("DCGAN_SIMD", name)
        .env(OUT, &out)
        .output()
        .unwrap();
    assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stdout));
    let bytes = std::fs::read(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    bytes
}

fn available() -> Vec<Isa> {
    match "mmx".parse::<Isa>() {
        Err(IsaError::Unavailable { name, available }) if name == "mmx" => available,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_instruction_set_in_use_cannot_be_replaced() {
    let used = isa();
    assert_eq!(set_isa(used), Ok(()));
    for other in available().into_iter().filter(|other| *other != used) {
        assert_eq!(set_isa(other), Err(IsaError::InUse { used }));
    }
}

#[test]
fn all_instruction_sets_agree() {
    let names: Vec<String> = available().iter().map(Isa::to_string).collect();
    assert!(
        names.contains(&"portable".to_string()) && names.contains(&isa().to_string()),
        "{names:?}"
    );
    let ours = workload::kernels(&Device::Cpu);
    for name in &names {
        let bytes = run_child(name);
        let line = bytes.iter().position(|b| *b == b'\n').unwrap();
        assert_eq!(&bytes[..line], name.as_bytes(), "the child used another instruction set");
        let theirs: Vec<f32> = bytes[line + 1..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        assert_eq!(theirs.len(), ours.iter().map(|(_, t)| t.len()).sum::<usize>());
        let mut at = 0;
        for (what, t) in &ours {
            let reference: Vec<f64> = t.to_vec().iter().map(|&v| f64::from(v)).collect();
            let e = error(&theirs[at..at + t.len()], &reference);
            assert!(e <= 1e-5, "{name}, {what}: {e:.1e} from {}", isa());
            at += t.len();
        }
    }
}
