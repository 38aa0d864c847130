//! WGSL templates and their specializations.
//!
//! The files in `shaders/` are WGSL with four kinds of lines for this preprocessor, so register
//! tiles are unrolled and choices are made before any compiler reads the text:
//!
//! - `//#include NAME` inserts another file;
//! - `//#if NAME`, `//#if !NAME`, `//#else`, `//#end` keep or drop lines by a flag of the
//!   specialization;
//! - `//#for i N` … `//#end` repeats lines for i = 0 … N−1, N a literal or the value of a
//!   name;
//! - `${NAME}` anywhere is the value of that name; `${BUILTINS}` is the parameter list of every
//!   entry point.

use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt::{self, Write};

/// The value of a template variable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Define {
    /// A condition of `//#if`.
    Flag(bool),
    /// A number for `${}` and `//#for`.
    Number(u32),
    /// A text for `${}`.
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

/// A kernel: a file, its entry point, and the values of its template variables.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ShaderSpec {
    pub file: &'static str,
    pub entry: &'static str,
    defines: SmallVec<[(&'static str, Define); 8]>,
}

impl fmt::Display for ShaderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.wgsl/{}", self.file, self.entry)?;
        self.defines.iter().try_for_each(|(name, value)| match value {
            Define::Flag(false) => Ok(()),
            Define::Flag(true) => write!(f, " {name}"),
            value => write!(f, " {name}={value}"),
        })
    }
}

macro_rules! files {
    ($($name:literal)*) => {
        fn file_text(file: &str) -> Option<&'static str> {
            match file {
                $($name => Some(include_str!(concat!("../../../../shaders/", $name, ".wgsl"))),)*
                _ => None,
            }
        }
    };
}

files! {
    "math" "grid" "operands" "coop" "elementwise" "reduce" "gemm" "norm" "movement" "pool"
    "distance" "random" "optim" "peak" "few_channel_conv"
}

impl ShaderSpec {
    /// The kernel `main` of a file, without values.
    pub(crate) fn new(file: &'static str) -> Self {
        Self { file, entry: "main", defines: SmallVec::new() }
    }

    /// The same file's kernel `entry`.
    pub(crate) fn entry(self, entry: &'static str) -> Self {
        Self { entry, ..self }
    }

    pub(crate) fn flag(self, name: &'static str, value: bool) -> Self {
        self.define(name, Define::Flag(value))
    }

    pub(crate) fn number(self, name: &'static str, value: usize) -> Self {
        self.define(name, Define::Number(value as u32))
    }

    pub(crate) fn text(self, name: &'static str, value: &'static str) -> Self {
        self.define(name, Define::Text(value))
    }

    /// A flag for each name, set for those in `chosen`.
    pub(crate) fn flags<const N: usize>(self, names: [&'static str; N], chosen: &[&str]) -> Self {
        names.into_iter().fold(self, |spec, name| spec.flag(name, chosen.contains(&name)))
    }

    fn define(mut self, name: &'static str, value: Define) -> Self {
        self.defines.push((name, value));
        self
    }

    /// The WGSL text.
    ///
    /// # Errors
    /// Returns the line that the preprocessor does not understand: a mistake in a file of
    /// `shaders/`.
    pub(crate) fn source(&self) -> Result<String, String> {
        let values = self.defines.iter().copied().chain([("BUILTINS", Define::Text(BUILTINS))]);
        let mut preprocessor = Preprocessor { values: values.collect(), out: String::new() };
        preprocessor.block(&lines(self.file)?)?;
        Ok(preprocessor.out)
    }
}

/// The parameters of every entry point.
const BUILTINS: &str = "@builtin(workgroup_id) group: vec3<u32>, \
                        @builtin(num_workgroups) groups: vec3<u32>, \
                        @builtin(local_invocation_index) lane: u32";

/// The lines of a file with its includes.
fn lines(file: &str) -> Result<Vec<&'static str>, String> {
    let text = file_text(file).ok_or_else(|| format!("there is no shader file {file}"))?;
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
                        return Err(format!("{name} is not a flag"));
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
                            _ => return Err(format!("{count} is not a number")),
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

/// The indices of the lines that end the directive at `start`, and of its `//#else`.
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

/// The compiled pipelines, and the layouts by their number of inputs and outputs.
#[derive(Default)]
pub(super) struct Pipelines {
    pub made: HashMap<ShaderSpec, wgpu::ComputePipeline>,
    pub layouts: HashMap<[usize; 2], (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
}

impl Pipelines {
    pub fn count(&self) -> u64 {
        self.made.len() as u64
    }
}
