//! Every specialization of every shader is valid WGSL and can be translated for every back end.
//! This needs no adapter.

use std::collections::HashSet;

/// The back ends among Vulkan, Metal and DX12 that a module cannot be translated for. (The GPU
/// tests cover GL.)
fn untranslated(module: &naga::Module, info: &naga::valid::ModuleInfo, name: &str) -> Vec<String> {
    use naga::back::{hlsl, msl, spv};
    let spirv = spv::write_vec(module, info, &spv::Options::default(), None)
        .map(drop)
        .map_err(|e| e.to_string());
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    let metal = msl::write_string(module, info, &options, &Default::default())
        .map(drop)
        .map_err(|e| e.to_string());
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_2,
        special_constants_binding: Some(hlsl::BindTarget::default()),
        ..Default::default()
    };
    let direct = if name.starts_with("coop.wgsl") {
        // DX12 has no cooperative matrices.
        Ok(())
    } else {
        let (mut text, stages) = (String::new(), Default::default());
        hlsl::Writer::new(&mut text, &options, &stages)
            .write(module, info, None)
            .map(drop)
            .map_err(|e| e.to_string())
    };
    let all = [("SPIR-V", spirv), ("MSL", metal), ("HLSL", direct)];
    all.into_iter()
        .filter_map(|(target, made)| Some(format!("{name}: no {target}: {}", made.err()?)))
        .collect()
}

#[test]
fn every_specialization_is_valid() {
    let all = tensor::gpu::all_specializations().unwrap();
    let mut failures = Vec::new();
    for (name, text) in &all {
        let module = match naga::front::wgsl::parse_str(text) {
            Ok(module) => module,
            Err(error) => {
                failures.push(format!("{name}: {}", error.emit_to_string(text)));
                continue;
            }
        };
        let flags = naga::valid::ValidationFlags::all();
        // Only mixed precision needs features that some adapters lack.
        let half = name.contains(" HALF");
        let mut capabilities = naga::valid::Capabilities::empty();
        capabilities.set(naga::valid::Capabilities::SHADER_FLOAT16, half);
        capabilities
            .set(naga::valid::Capabilities::COOPERATIVE_MATRIX, name.starts_with("coop.wgsl"));
        let mut validator = naga::valid::Validator::new(flags, capabilities);
        match validator.validate(&module) {
            Ok(info) => failures.extend(untranslated(&module, &info, name)),
            Err(error) => failures.push(format!("{name}: {}", error.emit_to_string(text))),
        }
        // The limits that every WebGPU device has.
        for entry in &module.entry_points {
            let invocations: u32 = entry.workgroup_size.iter().product();
            if invocations > 256 {
                failures.push(format!("{name}: {invocations} invocations in a workgroup"));
            }
        }
        let storage = module
            .global_variables
            .iter()
            .filter(|(_, v)| matches!(v.space, naga::AddressSpace::Storage { .. }))
            .count();
        // Optimizers update several parameters at a time only if the adapter can bind so many
        // buffers.
        let several = name.starts_with("optim.wgsl") && !name.contains("COUNT=1");
        if storage > 8 && !several {
            failures.push(format!("{name}: {storage} storage buffers"));
        }
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
            .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
            .sum();
        if shared > 16384 {
            failures.push(format!("{name}: {shared} bytes of workgroup memory"));
        }
        if text.contains("enable ") != half || text.contains("${") || text.contains("//#") {
            failures.push(format!("{name}: an unexpected extension, or an unexpanded directive"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), all.len(), failures.join("\n"));
    let names: HashSet<_> = all.iter().map(|(name, _)| name).collect();
    assert!(
        all.len() > 250 && names.len() == all.len(),
        "{} specializations, {} names",
        all.len(),
        names.len()
    );
}
