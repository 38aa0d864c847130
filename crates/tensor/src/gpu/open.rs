//! Opening an adapter.

use super::adapter::{Adapter, enumerate_until};
use super::context::{Gpu, Options};
use super::error::GpuError;

/// Opens an adapter: the one named, or the best (discrete before integrated, GL last).
///
/// # Errors
/// Returns an error if there is no adapter, if there are only software renderers and they are not
/// allowed, or if the driver refuses.
pub fn open(options: Options) -> Result<Gpu, GpuError> {
    let usable = |a: &Adapter| a.compute && (options.allow_software || !a.software);
    let mut all = enumerate_until(|all| match options.index {
        Some(index) => index < all.len(),
        None => all.iter().any(|(_, a)| usable(a)),
    });
    if all.is_empty() {
        return Err(GpuError::None);
    }
    let chosen = match options.index {
        Some(index) => {
            let count = all.len();
            let Some((_, adapter)) = all.get(index) else {
                return Err(GpuError::NoSuch { index, count });
            };
            if adapter.software && !options.allow_software {
                return Err(GpuError::Software(index, adapter.name.clone()));
            }
            if !adapter.compute {
                return Err(GpuError::NoCompute(adapter.name.clone()));
            }
            index
        }
        None => match all.iter().filter(|(_, a)| usable(a)).min_by_key(|(_, a)| a.rank) {
            Some((_, adapter)) => adapter.index,
            None => {
                if let Some((_, drawing)) = all.iter().find(|(_, a)| !a.software && !a.compute) {
                    return Err(GpuError::NoCompute(drawing.name.clone()));
                }
                let names: Vec<_> = all.iter().map(|(_, a)| a.name.as_str()).collect();
                return Err(GpuError::OnlySoftware(names.join(", ")));
            }
        },
    };
    let (adapter, described) = all.swap_remove(chosen);
    if options.half && described.cooperative.is_some() {
        // Drivers' cooperative matrices are new, so they are used only if they compute the right
        // result.
        let tried = Gpu::new(&adapter, described.clone(), options, described.cooperative)?;
        if tried.self_test_passes() {
            return Ok(tried);
        }
    }
    Gpu::new(&adapter, described, options, None)
}
