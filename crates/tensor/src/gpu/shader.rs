//! WGSL templates, their specializations, and the pipelines made of them.
//!
//! The files in `shaders/` are WGSL with four kinds of lines for this module, so that register tiles are unrolled and choices made before any
//! compiler sees the text:
//!
//! - `//#include NAME` puts another file here;
//! - `//#if NAME`, `//#if !NAME`, `//#else`, `//#end` keep or drop lines by a flag of the specialization;
//! - `//#for i N` … `//#end` repeats lines for i = 0 … N−1, N a number or a value of the specialization;
//! - `${NAME}` anywhere is the value of that name.

use super::adapter::{GpuError, lock};
use super::{Gpu, kernels};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt::{self, Write};

/// A value of a specialization.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Define {
    /// For `//#if`.
    Flag(bool),
    /// A number, for `${}` and `//#for`.
    Number(u32),
    /// Text, for `${}`.
    Text(&'static str),
}

impl fmt::Display for Define {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Define::Flag(value) => write!(f, "{value}"),
            Define::Number(value) => write!(f, "{value}"),
            Define::Text(value) => f.write_str(value),
        }
    }
}

/// A kernel: a file, its entry point, and the values that complete its text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ShaderSpec {
    pub file: &'static str,
    pub entry: &'static str,
    pub defs: SmallVec<[(&'static str, Define); 8]>,
}

impl fmt::Display for ShaderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.wgsl/{}", self.file, self.entry)?;
        self.defs.iter().try_for_each(|(name, value)| match value {
            Define::Flag(false) => Ok(()),
            Define::Flag(true) => write!(f, " {name}"),
            value => write!(f, " {name}={value}"),
        })
    }
}

macro_rules! files {
    ($($name:literal)*) => {
        fn source(file: &str) -> Option<&'static str> {
            match file {
                $($name => Some(include_str!(concat!("../../../../shaders/", $name, ".wgsl"))),)*
                _ => None,
            }
        }
    };
}

files! { "math" "grid" "operands" "coop" "elementwise" "reduce" "gemm" "norm" "movement" "pool" "distance" "random" "optim" "peak" "few_channel_conv" }

impl ShaderSpec {
    pub(crate) fn new(
        file: &'static str,
        entry: &'static str,
        defs: &[(&'static str, Define)],
    ) -> Self {
        Self { file, entry, defs: SmallVec::from_slice(defs) }
    }

    /// The WGSL text.
    ///
    /// # Errors
    /// The line that does not make sense: a mistake in a file of `shaders/`.
    pub(crate) fn text(&self) -> Result<String, String> {
        let mut expander =
            Preprocessor { values: self.defs.iter().copied().collect(), out: String::new() };
        let lines = lines(self.file)?;
        expander.block(&lines)?;
        Ok(expander.out)
    }
}

/// The lines of a file with its includes.
fn lines(file: &str) -> Result<Vec<&'static str>, String> {
    let text = source(file).ok_or_else(|| format!("there is no shader file {file}"))?;
    let mut all = Vec::new();
    for line in text.lines() {
        match line.trim().strip_prefix("//#include ") {
            Some(name) => all.extend(lines(name.trim())?),
            None => all.push(line),
        }
    }
    Ok(all)
}

struct Preprocessor {
    values: HashMap<&'static str, Define>,
    out: String,
}

impl Preprocessor {
    fn value(&self, name: &str) -> Result<Define, String> {
        self.values.get(name).copied().ok_or_else(|| format!("{name} has no value"))
    }

    fn block(&mut self, lines: &[&'static str]) -> Result<(), String> {
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at];
            let Some(directive) = line.trim().strip_prefix("//#") else {
                self.line(line)?;
                at += 1;
                continue;
            };
            let (end, middle) = extent(lines, at)?;
            let words: Vec<&'static str> = directive.split_whitespace().collect();
            match words[..] {
                ["if", name] => {
                    let (name, wanted) =
                        name.strip_prefix('!').map_or((name, true), |name| (name, false));
                    let Define::Flag(value) = self.value(name)? else {
                        return Err(format!("{name} is no flag"));
                    };
                    let stop = middle.unwrap_or(end);
                    if value == wanted {
                        self.block(&lines[at + 1..stop])?;
                    } else if let Some(middle) = middle {
                        self.block(&lines[middle + 1..end])?;
                    }
                }
                ["for", variable, count] => {
                    let count = match count.parse() {
                        Ok(count) => count,
                        Err(_) => match self.value(count)? {
                            Define::Number(count) => count,
                            _ => return Err(format!("{count} is no number")),
                        },
                    };
                    for i in 0..count {
                        self.values.insert(variable, Define::Number(i));
                        self.block(&lines[at + 1..end])?;
                    }
                    self.values.remove(variable);
                }
                _ => return Err(format!("cannot understand {line:?}")),
            }
            at = end + 1;
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').ok_or_else(|| format!("unclosed ${{ in {line:?}"))?;
            self.out.push_str(before);
            match self.value(name)? {
                Define::Text(text) => self.out.push_str(text),
                value => write!(self.out, "{value}").map_err(|e| e.to_string())?,
            }
            rest = after;
        }
        self.out.push_str(rest);
        self.out.push('\n');
        Ok(())
    }
}

/// The lines that end the directive at `start`, and its `//#else`.
fn extent(lines: &[&str], start: usize) -> Result<(usize, Option<usize>), String> {
    let (mut depth, mut middle) = (0, None);
    for (i, line) in lines.iter().enumerate().skip(start) {
        let Some(directive) = line.trim().strip_prefix("//#") else { continue };
        match directive.split_whitespace().next() {
            Some("if" | "for") => depth += 1,
            Some("else") if depth == 1 => middle = Some(i),
            Some("end") => {
                depth -= 1;
                if depth == 0 {
                    return Ok((i, middle));
                }
            }
            _ => {}
        }
    }
    Err(format!("{:?} has no //#end", lines[start]))
}

/// Every specialization that a kernel may ask for: its name and its WGSL text, for validation.
///
/// # Errors
/// A template that does not expand.
pub fn all_specializations() -> Result<Vec<(String, String)>, String> {
    let spec = |spec: ShaderSpec| {
        spec.text().map(|text| (spec.to_string(), text)).map_err(|e| format!("{spec}: {e}"))
    };
    kernels::specializations().into_iter().map(spec).collect()
}

/// Pipelines made so far, and layouts by their numbers of inputs and outputs.
#[derive(Default)]
pub(super) struct Pipelines {
    made: HashMap<ShaderSpec, wgpu::ComputePipeline>,
    layouts: HashMap<[usize; 2], (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
}

impl Pipelines {
    pub fn count(&self) -> u64 {
        self.made.len() as u64
    }
}

impl Gpu {
    /// The pipeline of a specialization and the layout of its bindings: parameters at 0, then inputs, then outputs. `None` on a device that failed.
    pub(super) fn pipeline(
        &self,
        spec: &ShaderSpec,
        bindings: [usize; 2],
    ) -> Option<(wgpu::ComputePipeline, wgpu::BindGroupLayout)> {
        let mut pipelines = lock(&self.0.pipelines);
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
        let text = spec.text().map_err(fail).ok()?;
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
                // Every kernel writes its shared memory before it reads it; clearing it first costs seconds on GL.
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
        // SAFETY: the text is ours. Kernels compare every index with the sizes that the host computed from shapes, and their loops end; the
        // tests run them with these checks off over memory filled with NaN, which would show what is read or left beyond its end.
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
