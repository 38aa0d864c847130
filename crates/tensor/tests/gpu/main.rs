//! The GPU back end beside the CPU's and beside PyTorch. Where there is no adapter every test reports itself as ignored; with
//! `DCGAN_REQUIRE_GPU=1` that is a failure. `DCGAN_TEST_GPU=1` names an adapter by its number; software renderers will do.

#[path = "../common/mod.rs"]
mod common;
mod parity;
mod runtime;

use libtest_mimic::{Arguments, Failed, Trial};
use tensor::{Device, gpu};

/// An adapter with every check switched on.
pub fn open() -> Result<Device, String> {
    let index = std::env::var("DCGAN_TEST_GPU").ok().and_then(|index| index.parse().ok());
    let options = gpu::Options { index, allow_software: true, checked: true };
    gpu::open(options).map(Device::Gpu).map_err(|e| e.to_string())
}

type Test = fn(&Device);

/// Tests that share one device.
const SHARED: [(&str, Test); 10] = [
    ("every_operation_equals_pytorch_in_float64", common::golden::every_operation_equals_pytorch_in_float64),
    ("every_gradient_of_the_table", common::gradients::every_gradient_of_the_table),
    ("every_kernel_family_equals_the_cpu", parity::every_kernel_family_equals_the_cpu),
    ("training_equals_the_cpu", parity::training_equals_the_cpu),
    ("random_convolutions_equal_the_cpu", parity::random_convolutions_equal_the_cpu),
    ("random_products_equal_the_cpu", parity::random_products_equal_the_cpu),
    ("random_pairs_and_sums_equal_the_cpu", parity::random_pairs_and_sums_equal_the_cpu),
    ("random_normalisations_equal_the_cpu", parity::random_normalisations_equal_the_cpu),
    ("special_numbers_equal_the_cpu", parity::special_numbers_equal_the_cpu),
    ("the_random_words_are_the_cpus", parity::the_random_words_are_the_cpus),
];

/// Tests that open devices of their own.
const OWN: [(&str, fn()); 6] = [
    ("twice_the_same_bits", runtime::twice_the_same_bits),
    ("a_steady_step_makes_nothing_new", runtime::a_steady_step_makes_nothing_new),
    ("buffers_are_written_in_order", runtime::buffers_are_written_in_order),
    ("a_lost_device_says_so", runtime::a_lost_device_says_so),
    ("a_tensor_beyond_the_binding_limit_is_refused", runtime::a_tensor_beyond_the_binding_limit_is_refused),
    ("a_guard_keeps_adam_from_bad_gradients", runtime::a_guard_keeps_adam_from_bad_gradients),
];

fn main() {
    let arguments = Arguments::from_args();
    let found = open();
    let required = std::env::var_os("DCGAN_REQUIRE_GPU").is_some_and(|v| v == "1");
    if let Err(reason) = &found {
        if required {
            eprintln!("DCGAN_REQUIRE_GPU=1, but {reason}");
            std::process::exit(1);
        }
        eprintln!("ignored: {reason}");
    }
    let missing = found.is_err();
    let device = found.unwrap_or(Device::Cpu);
    let shared = SHARED.map(|(name, test)| {
        let device = device.clone();
        Trial::test(name, move || {
            let result = caught(|| test(&device));
            // What a device fails of says more than the numbers that are missing then.
            device.check()?;
            result
        })
    });
    let own = OWN.map(|(name, test)| Trial::test(name, move || caught(test)));
    let all = shared.into_iter().chain(own).map(|trial| trial.with_ignored_flag(missing)).collect();
    libtest_mimic::run(&arguments, all).exit();
}

/// Panics of a test become its message.
fn caught(test: impl FnOnce()) -> Result<(), Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Failed::from(text.unwrap_or("panicked"))
    })
}
