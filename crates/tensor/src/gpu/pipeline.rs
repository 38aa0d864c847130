//! Compiling kernels.

use super::context::Gpu;
use super::error::GpuError;
use super::shader::ShaderSpec;

impl Gpu {
    /// The pipeline of a kernel and the layout of its bindings: parameters at 0, then inputs, then
    /// outputs. `None` on a device that failed.
    pub(super) fn pipeline(
        &self,
        spec: &ShaderSpec,
        bindings: [usize; 2],
    ) -> Option<(wgpu::ComputePipeline, wgpu::BindGroupLayout)> {
        let mut pipelines = self.0.pipelines.lock();
        let (group, layout) =
            pipelines.layouts.entry(bindings).or_insert_with(|| self.layout(bindings)).clone();
        if let Some(pipeline) = pipelines.made.get(spec) {
            return Some((pipeline.clone(), group));
        }
        let name = spec.to_string();
        let fail = |reason: String| {
            self.fail(GpuError::Shader {
                adapter: self.0.adapter.name.clone(),
                shader: name.clone(),
                reason,
            });
        };
        let text = spec.source().map_err(fail).ok()?;
        let validation = self.0.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.0.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&name),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        };
        let module = if self.0.checked {
            self.0.device.create_shader_module(descriptor)
        } else {
            self.trusted(descriptor)
        };
        let pipeline = self.0.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&name),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(spec.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Every kernel writes its shared memory before reading it; clearing it takes
                // seconds on GL.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        let errors = [pollster::block_on(internal.pop()), pollster::block_on(validation.pop())];
        if let Some(error) = errors.into_iter().flatten().next() {
            fail(error.to_string());
            return None;
        }
        pipelines.made.insert(spec.clone(), pipeline.clone());
        Some((pipeline, group))
    }

    #[allow(unsafe_code)]
    fn trusted(&self, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
        let checks = wgpu::ShaderRuntimeChecks::unchecked();
        // SAFETY: the text comes from `shaders/`. Kernels compare every index with the sizes that
        // the host computed from shapes, and their loops end. Tests run all of them without these
        // checks over memory filled with NaN, which reveals reads beyond an end and elements that
        // are not written.
        unsafe { self.0.device.create_shader_module_trusted(descriptor, checks) }
    }

    fn layout(
        &self,
        [inputs, outputs]: [usize; 2],
    ) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let entry = |binding: usize, ty: wgpu::BufferBindingType, dynamic: bool| {
            wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: dynamic,
                    min_binding_size: None,
                },
                count: None,
            }
        };
        let storage = |read_only| wgpu::BufferBindingType::Storage { read_only };
        let entries: Vec<_> = std::iter::once(entry(0, wgpu::BufferBindingType::Uniform, true))
            .chain((0..inputs).map(|i| entry(1 + i, storage(true), false)))
            .chain((0..outputs).map(|i| entry(1 + inputs + i, storage(false), false)))
            .collect();
        let group = self.0.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &entries,
        });
        let pipeline = self.0.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        (group, pipeline)
    }
}
