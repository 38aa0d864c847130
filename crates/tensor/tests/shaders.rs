//! Every specialisation of every shader is valid WGSL, whatever adapters this machine has.

use std::collections::HashSet;

#[test]
fn every_specialisation_is_valid() {
    let all = tensor::gpu::every_specialisation().unwrap();
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
        // Only the tiles of mixed precision ask for more than every adapter has.
        let half = name.contains(" HALF");
        let capabilities = if half { naga::valid::Capabilities::SHADER_FLOAT16 } else { naga::valid::Capabilities::empty() };
        let mut validator = naga::valid::Validator::new(flags, capabilities);
        if let Err(error) = validator.validate(&module) {
            failures.push(format!("{name}: {}", error.emit_to_string(text)));
        }
        // The limits that every WebGPU device has.
        for entry in &module.entry_points {
            let invocations: u32 = entry.workgroup_size.iter().product();
            if invocations > 256 {
                failures.push(format!("{name}: {invocations} invocations in a workgroup"));
            }
        }
        let storage =
            module.global_variables.iter().filter(|(_, v)| matches!(v.space, naga::AddressSpace::Storage { .. })).count();
        // Adam takes several parameters at a time only where an adapter can bind as many arrays.
        let several = name.contains(" ADAM") && !name.contains("COUNT=1");
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
            failures.push(format!("{name}: an extension, or a directive that was left"));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), all.len(), failures.join("\n"));
    let names: HashSet<_> = all.iter().map(|(name, _)| name).collect();
    assert!(all.len() > 250 && names.len() == all.len(), "{} specialisations, {} names", all.len(), names.len());
}
