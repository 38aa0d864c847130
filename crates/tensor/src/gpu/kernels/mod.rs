//! One module per kernel family, as in `cpu/`: each turns sizes into dispatches of its file in
//! `shaders/`.

pub(crate) mod conv;
pub(crate) mod distance;
pub(crate) mod elementwise;
pub(crate) mod gemm;
mod launch;
pub(crate) mod movement;
pub(crate) mod norm;
pub(crate) mod optim;
pub(crate) mod peak;
pub(crate) mod pool;
pub(crate) mod random;
pub(crate) mod reduce;

/// Every kernel that any size, shape or option can ask for: its name and its WGSL text, for
/// validation by tests.
///
/// # Errors
/// Returns the template that does not expand.
pub fn all_specializations() -> Result<Vec<(String, String)>, String> {
    let families = [
        elementwise::specializations(),
        reduce::specializations(),
        conv::specializations(),
        gemm::specializations(),
        norm::specializations(),
        movement::specializations(),
        pool::specializations(),
        distance::specializations(),
        random::specializations(),
        optim::specializations(),
        peak::specializations(),
    ];
    let expand = |spec: super::shader::ShaderSpec| {
        spec.source().map(|text| (spec.to_string(), text)).map_err(|e| format!("{spec}: {e}"))
    };
    families.into_iter().flatten().map(expand).collect()
}
