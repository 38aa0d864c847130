//! The same results in every instruction set that this processor has. The choice is fixed at a program's first use, so
//! each one runs in a process of its own: this test program again, told by environment variables what to do.

mod common;

use common::{error, workload};
use std::path::{Path, PathBuf};
use std::process::Command;
use tensor::{Device, ISA_VARIABLE, isa, isa_from_env};

/// Where a child writes its results.
const OUT: &str = "TENSOR_TEST_OUT";

/// The part that children play; alone, nothing.
#[test]
fn child() {
    let Some(out) = std::env::var_os(OUT) else { return };
    let bytes = match isa_from_env() {
        Err(message) => message.into_bytes(),
        Ok(_) => {
            let results = workload::kernels(&Device::Cpu);
            let numbers = results.iter().flat_map(|(_, t)| t.to_vec()).flat_map(f32::to_le_bytes);
            isa().to_string().into_bytes().into_iter().chain([b'\n']).chain(numbers).collect()
        }
    };
    std::fs::write(out, bytes).unwrap();
}

/// What a child under `DCGAN_SIMD=name` writes.
fn run_child(name: &str) -> Vec<u8> {
    let out: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("instruction-set-{}-{name}", std::process::id()));
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--test-threads", "1"])
        .env(ISA_VARIABLE, name)
        .env(OUT, &out)
        .output()
        .unwrap();
    assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stdout));
    let bytes = std::fs::read(&out).unwrap();
    std::fs::remove_file(&out).unwrap();
    bytes
}

/// The names that the error offers.
fn offered(message: &str) -> Vec<String> {
    let rest = message.strip_prefix("DCGAN_SIMD=mmx is not available here: use one of ");
    let names = rest
        .and_then(|r| r.strip_suffix(", or unset it"))
        .unwrap_or_else(|| panic!("error text: {message}"));
    names.split(", ").map(str::to_string).collect()
}

#[test]
fn all_instruction_sets_agree() {
    let names = offered(&String::from_utf8(run_child("mmx")).unwrap());
    assert!(
        names.contains(&"portable".to_string()) && names.contains(&isa().to_string()),
        "{names:?}"
    );
    let ours = workload::kernels(&Device::Cpu);
    for name in &names {
        let bytes = run_child(name);
        let line = bytes.iter().position(|b| *b == b'\n').unwrap();
        assert_eq!(
            &bytes[..line],
            name.as_bytes(),
            "the child did not run in the instruction set it was told"
        );
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
