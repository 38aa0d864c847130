//! An adapter for tests, and the report if there is none.

use libtest_mimic::{Arguments, Failed, Trial};
use tensor::gpu::GpuError;
use tensor::{Device, gpu};

/// A test on a device that others use too.
type Shared = fn(&Device);

/// An adapter with every check switched on.
pub fn open() -> Result<Device, GpuError> {
    open_with(gpu::Options::default())
}

/// The same, with other options.
pub fn open_with(options: gpu::Options) -> Result<Device, GpuError> {
    open_as(gpu::Options { checked: true, ..options })
}

/// With exactly these options but for the adapter.
pub fn open_as(options: gpu::Options) -> Result<Device, GpuError> {
    let index = std::env::var("DCGAN_TEST_GPU").ok().and_then(|index| index.parse().ok());
    let options = gpu::Options { index, allow_software: true, ..options };
    gpu::open(options).map(Device::Gpu)
}

/// Runs tests that share one device, and others that open their own. Without an adapter they are
/// reported as ignored, or, with `DCGAN_REQUIRE_GPU=1`, the program fails.
pub fn run(shared: &[(&'static str, Shared)], own: &[(&'static str, fn())]) -> ! {
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
    let shared = shared.iter().map(|&(name, test)| {
        let device = device.clone();
        Trial::test(name, move || {
            let result = caught(|| test(&device));
            // The failure of a device explains more than the NaNs that follow from it.
            device.check()?;
            result
        })
    });
    let own = own.iter().map(|&(name, test)| Trial::test(name, move || caught(test)));
    let all = shared.chain(own).map(|trial| trial.with_ignored_flag(missing)).collect();
    libtest_mimic::run(&arguments, all).exit()
}

/// Panics of a test become its message.
fn caught(test: impl FnOnce()) -> Result<(), Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(test)).map_err(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        Failed::from(text.unwrap_or("panicked"))
    })
}
