//! The way out of a library's error, in this program's flags and commands. Libraries name what went
//! wrong and the values; each function here matches an error's variants and returns the text that
//! the user reads after the message: `message: hint`.

use crate::environment::{DATASETS_VARIABLE, TOKEN_VARIABLE};
use crate::render::quoted;
use data::{
    DataError, EntryProblem, FetchError, FileProblem, ForeignFormat, IdxProblem, RankProblem,
};
use eval::EvalError;
use nn::{NnError, Recipe};
use runs::{ArtifactError, PyTorchProblem};
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::Path;
use tensor::gpu::GpuError;
use train::TrainError;
use train::condition::ConditionError;

/// `message: hint`, or the message alone where there is no hint.
pub fn compose(message: impl Display, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message}: {hint}"),
        None => message.to_string(),
    }
}

/// The hint where a tensor finds no memory.
pub const OUT_OF_MEMORY: &str = "choose a smaller --batch, fewer or smaller images, or narrower \
                                 networks (--width), or raise the limit of memory (ulimit -v, the \
                                 container's)";

/// Hints for devices that cannot be opened, run out of memory or fail.
pub fn gpu(error: &GpuError) -> Option<String> {
    Some(match error {
        GpuError::None => {
            "install its Vulkan driver (on Linux also libvulkan1), or use --device cpu".into()
        }
        GpuError::OnlySoftware(_) => "add --allow-software to use one, or use --device cpu".into(),
        GpuError::Software(..) => "add --allow-software to use it, or use --device cpu".into(),
        GpuError::NoHalf(_) => "use --precision f32, or another device of `dcgan devices`".into(),
        GpuError::NoSuch { .. } => "`dcgan devices` lists them".into(),
        GpuError::Open { .. } | GpuError::NoCompute(_) => {
            "try another device of `dcgan devices`, or --device cpu".into()
        }
        GpuError::Memory { .. } | GpuError::Exhausted { .. } | GpuError::TooLarge { .. } => {
            "try a smaller batch (--batch) or narrower networks (--width)".into()
        }
        GpuError::Grid { .. } => "try a smaller batch (--batch)".into(),
        GpuError::Shader { .. } => "use --device cpu".into(),
        GpuError::Lost { .. } => "the last checkpoint is valid, resume from it with --resume; \
                                  try a smaller batch if it happens again"
            .into(),
        GpuError::Failed { .. } => {
            "the last checkpoint is valid, resume from it with --resume --device cpu".into()
        }
    })
}

/// Hints for recipes and state dicts.
pub fn nn(error: &NnError) -> Option<String> {
    const OTHER_RECIPE: &str = "were these weights made by another recipe?";
    Some(match error {
        NnError::MissingTensor { .. } | NnError::WrongShape { .. } => OTHER_RECIPE.to_owned(),
        NnError::UnexpectedTensor { name, known, .. } => {
            match nearest(name, known.iter().map(String::as_str)) {
                Some(own) => format!("it has \"{own}\"; {OTHER_RECIPE}"),
                None => OTHER_RECIPE.to_owned(),
            }
        }
        NnError::BadTensor { .. } => "the file is damaged or not a state dict".to_owned(),
        NnError::NonFiniteTensor { .. } => {
            "take weights from before training diverged, or save them as float32 within its range"
                .to_owned()
        }
        NnError::NoRecipe { .. } => {
            "name the recipe (dcgan import --recipe), or describe the networks in a .toml file \
             (see dcgan recipes NAME)"
                .to_owned()
        }
        NnError::BeyondHalf { .. } => "leave out --half".to_owned(),
        NnError::UnknownRecipe { name } => {
            let known = Recipe::names().collect::<Vec<_>>().join(", ");
            match nearest(name, Recipe::names()) {
                Some(similar) => format!("did you mean \"{similar}\"? (there are {known})"),
                None => format!("there are {known}"),
            }
        }
        NnError::UnknownKey { key, known } => {
            let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
            let mut known = known.iter().map(String::as_str);
            // A key in the wrong section is found by its own name, before whole paths are compared.
            let elsewhere = known.clone().find(|known| last(known) == last(key));
            let similar = elsewhere.or_else(|| nearest(key, &mut known))?;
            format!("did you mean \"{similar}\"?")
        }
        NnError::NoInferenceLayer { .. } => {
            "only a generator without such layers can be exported for other programs".to_owned()
        }
        NnError::MissingKey { .. } => {
            "add it, or start from a preset with base = \"small\"".to_owned()
        }
        NnError::Syntax { .. }
        | NnError::BadValue { .. }
        | NnError::ImageSize { .. }
        | NnError::Untranslatable { .. } => return None,
    })
}

/// The known name at the least edit distance, if at most a third of it differs.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&name, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Hints for datasets.
pub fn data(error: &DataError) -> Option<String> {
    let built_in = || data::builtin_names().collect::<Vec<_>>().join(", ");
    Some(match error {
        DataError::EmptySpec => format!(
            "name a built-in dataset ({}), a folder or an archive of images, or a dataset's file",
            built_in()
        ),
        DataError::NotFound { fetched: Some(path), .. } => format!("it is at {path:?}"),
        DataError::NotFound { spec, .. } if spec.starts_with("~") => {
            "the shell replaces ~ only where a word starts with it and is not quoted, so write \
             $HOME"
                .to_owned()
        }
        DataError::NotFound { spec, fetchable: true, .. } => {
            format!("get it with dcgan data fetch {spec}")
        }
        DataError::NotFound { spec, .. } => {
            let names = data::known_sets().flat_map(|set| [&[set.name], set.aliases].concat());
            match nearest(spec, names) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("built-in are {}", built_in()),
            }
        }
        DataError::UnknownFormat { prefix, .. } if prefix == "parquet" => {
            foreign(ForeignFormat::Parquet).to_owned()
        }
        DataError::UnknownFormat { .. } => {
            let names: Vec<_> = data::formats().map(|(name, _)| name).collect();
            format!("known formats are {}", names.join(", "))
        }
        DataError::BuiltInMissing { name, folder, bundled, .. } => {
            let get = match bundled {
                true => "run this inside the repository, which has it".to_owned(),
                false => format!("get it with dcgan data fetch {name}"),
            };
            let path = match Path::new(name).exists() {
                true => format!("; the path of that name is ./{name}"),
                false => String::new(),
            };
            format!("{get}, or set {DATASETS_VARIABLE} to the folder that holds {folder:?}{path}")
        }
        DataError::Ambiguous { .. } => "name one of them".to_owned(),
        DataError::HeldOutOnly { path, folder } if path.join(folder).is_file() => {
            let archive = path.join(folder);
            format!("to train on them, rename the archives, or name one, such as {archive:?}")
        }
        DataError::HeldOutOnly { path, folder } if path.is_dir() => {
            format!("to train on them, name the folder itself, {:?}", path.join(folder))
        }
        DataError::HeldOutOnly { .. } => "to train on them, unpack it and name that folder".into(),
        DataError::Foreign { format, .. } => foreign(*format).to_owned(),
        DataError::Malformed {
            format: "packed file",
            problem: FileProblem::Truncated(_) | FileProblem::Damaged(_),
            ..
        } => "copy it again, or make it again with dcgan data prepare".to_owned(),
        DataError::Malformed { problem, .. } => file(problem)?.to_owned(),
        DataError::Idx { problem: IdxProblem::Truncated { .. } | IdxProblem::Gzip(_), .. } => {
            COPY_AGAIN.to_owned()
        }
        DataError::Url { spec } => match spec.split("://").next().unwrap_or_default() {
            "hf" if cfg!(feature = "parquet") => {
                format!("get it first with dcgan data fetch {}", quoted(Path::new(spec)))
            }
            "hf" => foreign(ForeignFormat::Parquet).to_owned(),
            "file" => "leave out file://".to_owned(),
            "http" | "https" | "ftp" => format!("get it first with curl -LO {spec:?}"),
            _ => "copy it to this machine first".to_owned(),
        },
        DataError::SingleImage { .. } => "name the folder that it is in".to_owned(),
        DataError::UnknownContents { .. } => {
            let names: Vec<_> = data::formats().map(|(name, _)| name).collect();
            format!("say which it is with FORMAT:PATH ({})", names.join(", "))
        }
        DataError::Exists { .. } => "choose another name, or delete it first".to_owned(),
        DataError::NotEmpty { .. } => "choose another folder, or empty it".to_owned(),
        DataError::OutputInsideInput { .. } => "choose another folder".to_owned(),
        DataError::SmallerThanBatch { images, .. } => {
            format!("choose a batch of {images} or fewer, or more images")
        }
        DataError::Io { error, .. } if error.kind() == ErrorKind::PermissionDenied => {
            "ask for permission to read it, or move it away".to_owned()
        }
        DataError::Memory { .. } => "close other programs, use smaller images, or raise the limit \
                                     of memory (ulimit -v, the container's)"
            .to_owned(),
        DataError::EmptyBatch => "choose a batch of 1 or more".to_owned(),
        DataError::Ranks { failures, .. } => {
            if failures.iter().any(|failure| failure.problem == RankProblem::Settings) {
                "start all ranks with the same flags".to_owned()
            } else {
                "give all nodes the same files, by a shared file system or by copies".to_owned()
            }
        }
        _ => return None,
    })
}

/// The way out where a dataset's file is not as it was written.
const COPY_AGAIN: &str = "copy or download it again";

/// The way out of a defect of a dataset's file.
fn file(problem: &FileProblem) -> Option<&'static str> {
    Some(match problem {
        FileProblem::Truncated(_) | FileProblem::Damaged(_) => COPY_AGAIN,
        FileProblem::Twice { what: "files", .. } => "repack it with each file once",
        FileProblem::Twice { what: "rows", .. } => "remove one",
        FileProblem::Twice { .. } => "rename one",
        FileProblem::NoRow { .. } => "add a row for each image, or rename the table",
        FileProblem::NoImage { .. } => "remove such rows, or add the images",
        FileProblem::NotUtf8(_) => "write it in UTF-8",
        FileProblem::Entry { problem: EntryProblem::LeadsOut, .. } => "repack it without `..`",
        FileProblem::Entry { problem: EntryProblem::Absolute, .. } => {
            "repack it with relative paths"
        }
        FileProblem::Entry { problem: EntryProblem::Link, .. } => {
            "pack the file itself (tar --dereference --hard-dereference)"
        }
        FileProblem::ElementType { wanted: "integers", .. } => {
            "save them as such (Python: y.astype(\"int64\"))"
        }
        FileProblem::ElementType { found, .. } if found == "bool" => {
            "save it as such (Python: a.astype(\"uint8\") * 255)"
        }
        FileProblem::ElementType { found, .. } if found.starts_with("float") => {
            "save it as such (Python, if its values are from 0 to 1: \
             (a * 255).round().astype(\"uint8\"))"
        }
        FileProblem::ElementType { .. } => {
            "scale it to 0 … 255 and save it as such (Python: a.astype(\"uint8\"))"
        }
        FileProblem::ColumnOrder { .. } => {
            "save it row by row (Python: numpy.ascontiguousarray(a))"
        }
        FileProblem::Unfinished => "delete it, or choose another name",
        FileProblem::Locked => "wait for it to end, or choose another name",
        _ => return None,
    })
}

/// The way from a format that is not read to one that is.
fn foreign(format: ForeignFormat) -> &'static str {
    match format {
        ForeignFormat::Parquet if cfg!(feature = "parquet") => {
            "name the file itself, or the folder of it and its shards"
        }
        ForeignFormat::Parquet => {
            "this dcgan was built without it: build it with cargo build --release --features \
             parquet"
        }
        ForeignFormat::Arrow => {
            "save its images as files first (Python: row[\"image\"].save(...) for each row of \
             datasets.load_dataset(...))"
        }
        ForeignFormat::Npy | ForeignFormat::Npz => {
            "name the file itself, if it holds images (npy:FILE, npz:FILE)"
        }
        ForeignFormat::Hdf5 => {
            "save its images as files first (Python: h5py reads them, PIL.Image.fromarray(a) \
             .save(...) writes them)"
        }
        ForeignFormat::TfRecord | ForeignFormat::RecordIo | ForeignFormat::Beton => {
            "save its images as files first, with the library that wrote it"
        }
        ForeignFormat::Pickle => {
            "save its images as files first (of CIFAR's Python version name the unpacked folder)"
        }
        ForeignFormat::PyTorch | ForeignFormat::Safetensors => {
            "it holds no images; weights are read by dcgan import"
        }
        ForeignFormat::SevenZip => "unpack it with 7z x, and name the folder",
        ForeignFormat::Compressed => "unpack it, or compress it with gzip, bzip2, xz or zstd",
        ForeignFormat::CompressedFile => "unpack it, and name what is in it",
        ForeignFormat::Text => "name the folder or archive that holds the images",
        ForeignFormat::Rar => "unpack it with unrar x, and name the folder",
        ForeignFormat::Video => "save its frames as files first (ffmpeg -i FILE frames/%06d.png)",
        ForeignFormat::Pdf | ForeignFormat::Svg | ForeignFormat::Heif => {
            "convert it to PNG or JPEG first"
        }
        ForeignFormat::WebPage => "fetch it again, and open its address in a browser to see why",
        ForeignFormat::LfsPointer => "get the file with git lfs pull",
        _ => "save its images as files first",
    }
}

/// Whether an address is one of Hugging Face's hub, or of a server with its interface.
fn is_hub(url: &str) -> bool {
    url.contains("/api/datasets/") || url.contains("/datasets/") && url.contains("/resolve/")
}

/// Hints for downloads.
pub fn fetch(error: &FetchError) -> Option<String> {
    Some(match error {
        FetchError::NoAddress { files, page, folder, .. } => format!(
            "get {files} from {page} by hand, put them into {folder:?} and run this again to check \
             and unpack them, or name a server that has them with --mirror URL"
        ),
        FetchError::Status { url, status: 401 | 403, .. } if is_hub(url) => format!(
            "if it exists, accept its terms on its page, and set {TOKEN_VARIABLE} to a token that \
             may read it"
        ),
        FetchError::HubAddress { .. } => "such as hf://datasets/uoft-cs/cifar10".to_owned(),
        FetchError::HubConfigs { .. } => "add /CONFIG to the address".to_owned(),
        FetchError::Token { .. } => format!("unset {TOKEN_VARIABLE}, or set it to a token"),
        FetchError::Address { .. } | FetchError::Status { .. } | FetchError::Length { .. } => {
            "name another server with --mirror URL".to_owned()
        }
        FetchError::Cut { .. } => "run the same command again to continue from there".to_owned(),
        FetchError::Checksum { .. } => "it was removed, fetch it again".to_owned(),
        FetchError::InTheWay { .. } => {
            "move it away, or fetch into another folder with --out".to_owned()
        }
        FetchError::Busy { .. } => {
            "wait for it, or fetch into another folder with --out".to_owned()
        }
        _ => return None,
    })
}

/// Hints for the files of a run: checkpoints, metrics, images.
pub fn artifact(error: &ArtifactError) -> Option<String> {
    let hint = match error {
        ArtifactError::Write { source, .. } => write_hint(source.kind()),
        ArtifactError::Read { source, .. } => read_hint(source.kind()),
        ArtifactError::Size { .. } => "use an older checkpoint, or copy it again",
        ArtifactError::NotSafetensors { .. } => {
            "give a checkpoint that dcgan wrote, a run directory, or a state dict as .safetensors \
             or .pth"
        }
        ArtifactError::PyTorch { .. } => "use dcgan import",
        ArtifactError::PyTorchFile { problem, .. } => match problem {
            PyTorchProblem::Object { .. } | PyTorchProblem::TorchScript => {
                "save its state dict instead (Python: torch.save(model.state_dict(), \"FILE.pth\"))"
            }
            PyTorchProblem::Compressed { .. }
            | PyTorchProblem::NotTorch
            | PyTorchProblem::Version(_)
            | PyTorchProblem::Tar
            | PyTorchProblem::BigEndian => {
                "load it in Python and save its state dict again with torch.save"
            }
            PyTorchProblem::NoTensors { .. } => "dcgan reads state dicts of tensors",
            _ => "the file is damaged or incomplete: copy it again",
        },
        ArtifactError::SeveralDicts { .. } => {
            "save the one that is meant alone (Python: torch.save(torch.load(FILE)[KEY], \
             \"FILE.pth\"))"
        }
        ArtifactError::NotCheckpoint { .. } => "use dcgan import",
        ArtifactError::NewerSchema { .. } => "update dcgan",
        ArtifactError::Checksum { .. } | ArtifactError::Damaged { .. } => "use an older checkpoint",
        ArtifactError::Dtype { .. } => "convert it to F32",
        ArtifactError::Memory { .. } => "close other programs",
        ArtifactError::Npz { .. } => "save it again with numpy.savez",
        ArtifactError::Npy { .. } => "save it again with numpy.save as little-endian float32",
        ArtifactError::NoCheckpoint { .. } => {
            "name a checkpoint file, or the directory of another run"
        }
        ArtifactError::NotEmpty { path, resumable: true } => {
            return Some(format!("continue it with --resume {path:?}, or choose another --out"));
        }
        ArtifactError::NotEmpty { resumable: false, .. } => "choose another --out",
        ArtifactError::Locked { .. } => "wait for it to end, or choose another --out",
        ArtifactError::NotARun { .. } => "give a directory that dcgan train made",
        ArtifactError::NoRuns { .. } => {
            "start one with dcgan train, or name the folder that holds runs \
             (dcgan info shows one run)"
        }
        ArtifactError::Metrics { .. } => "delete that line to continue",
        ArtifactError::NoRows { .. } => "log more often with --log-every",
        ArtifactError::NoSamples { .. } => "sample more often with --sample-every",
        ArtifactError::GridSize { .. } => "draw fewer images, or smaller ones",
        _ => return None,
    };
    Some(hint.to_owned())
}

fn write_hint(kind: ErrorKind) -> &'static str {
    use ErrorKind::*;
    match kind {
        StorageFull | QuotaExceeded | FileTooLarge | WriteZero => {
            "free some space, or choose another disk"
        }
        PermissionDenied | ReadOnlyFilesystem => "choose a folder you may write to",
        NotFound => "its folder is missing; create it, or choose another",
        NotADirectory => "a file is where a folder should be; choose another path",
        _ => "choose another path",
    }
}

fn read_hint(kind: ErrorKind) -> &'static str {
    use ErrorKind::*;
    match kind {
        NotFound | NotADirectory => "check the path",
        PermissionDenied => "ask for permission to read it",
        IsADirectory | InvalidInput => "give a file",
        _ => "check the disk",
    }
}

/// Hints for training and sampling.
pub fn train(error: &TrainError) -> Option<String> {
    let hint = match error {
        TrainError::Artifact(error) => return artifact(error),
        TrainError::Data(error) => return data(error),
        TrainError::Nn(error) => return nn(error),
        TrainError::Weights { source, .. } => return nn(source),
        TrainError::Gpu(error) => return gpu(error),
        TrainError::Condition(error) => return condition(error),
        TrainError::NonFinite { .. } => {
            "the checkpoints before it are valid, resume from one with a lower --lr"
        }
        TrainError::NonFiniteStart { .. } => {
            "take another initialization, or with --init-from or --resume another checkpoint"
        }
        TrainError::NonFiniteImages { .. } => "take an earlier checkpoint, or another --bn",
        TrainError::Diverged { .. } => {
            "the checkpoints are valid, resume from an earlier one with a far lower --lr, or use \
             another recipe"
        }
        TrainError::NoTrainingState => "use train --init-from, or sample",
        TrainError::GeneratorAlone => "leave out --discriminator, or name a run",
        TrainError::NoRunningStatistics => "train it for a step: train --init-from",
        TrainError::HalfPrecision { .. } => "keep single precision with --full",
        TrainError::FileExists { .. } => "choose another --out, or overwrite it with --force",
        TrainError::Pack { .. } => {
            "take a --batch that is a multiple of --pack, twice as large at least"
        }
        TrainError::Saddle { setting, .. } => return Some(format!("change --{setting}")),
        TrainError::TooManyRanks { parts: 1, .. } => "start fewer, or use a larger --batch",
        TrainError::TooManyRanks { .. } => {
            "start fewer, use a larger --batch, or a smaller --accumulate"
        }
        TrainError::BatchStatistics { .. } => "use a larger --batch, or another --bn",
        _ => return None,
    };
    Some(hint.into())
}

/// Hints for conditions.
fn condition(error: &ConditionError) -> Option<String> {
    use nn::recipe::ConditionKind::{Attributes, Class, Vector};
    let hint = match error {
        ConditionError::NoLabels { .. } | ConditionError::OneClass { .. } => {
            "give a dataset with two or more classes, or leave --condition out"
        }
        ConditionError::NoAttributes { .. } => {
            "put a table attributes.csv in its folder, or leave --condition out"
        }
        ConditionError::OnlyIdentifiers { .. } => {
            "name those to condition on, --condition attributes:NAME,NAME"
        }
        ConditionError::NoVectorFile | ConditionError::OtherKind { kind: Vector, .. } => {
            "give it with --condition FILE.safetensors"
        }
        ConditionError::OtherDataset { .. } => "use the dataset they were made for",
        ConditionError::UnknownClass { .. } | ConditionError::OtherKind { kind: Class, .. } => {
            "give one of them with --class"
        }
        ConditionError::UnknownAttribute { .. }
        | ConditionError::OtherKind { kind: Attributes, .. } => "give some of them with --attr",
        _ => return None,
    };
    Some(hint.into())
}

/// Hints for metrics and experiments.
pub fn eval(error: &EvalError) -> Option<String> {
    let hint = match error {
        EvalError::Train(error) => return train(error),
        EvalError::Artifact(error) => return artifact(error),
        EvalError::Data(error) => return data(error),
        EvalError::Nn(error) => return nn(error),
        EvalError::Gpu(error) => return gpu(error),
        EvalError::TooFewImages { .. } => "give more images",
        EvalError::ImageShape { .. } => {
            "resize them with --image and --channels, or train a network for theirs with dcgan \
             eval train-features"
        }
        EvalError::OutOfMemory { .. } => "use fewer images",
        EvalError::FeatureWidths { .. } => "extract both by the same network",
        EvalError::NonFiniteFeature { .. } | EvalError::NonFiniteFeatures => {
            "the images or the feature network are damaged"
        }
        EvalError::FrechetTooLarge { .. } => {
            "its time grows with the third power: leave fid out of --metrics, or use smaller \
             images, fewer of them, or other --features"
        }
        EvalError::NeedsClassProbabilities { metric } => {
            return Some(format!("leave {metric} out of --metrics, or give other --features"));
        }
        EvalError::Diverged { model: "autoencoder", .. } => "give a lower --lr",
        EvalError::Diverged { .. } => "try another --seed",
        EvalError::CheckpointAsFeatureNetwork { .. } => {
            "for the features of its discriminator write d:CHECKPOINT"
        }
        EvalError::FeatureNetworkFile { .. } => "give a file that dcgan eval train-features wrote",
        EvalError::InceptionFile { .. } => {
            "give pt_inception-2015-12-05-6726825d.pth of pytorch-fid (docs/eval.md says where \
             it is)"
        }
        EvalError::InceptionHash { .. } => {
            "download it again; other weights are taken from a file of another name"
        }
        EvalError::InceptionImages { .. } => "give --channels 3, or other --features",
        EvalError::StatisticsFile { .. } => {
            "give a file that pytorch-fid or dcgan eval wrote with --save-stats"
        }
        EvalError::NeedsRealImages { metric } => {
            return Some(format!(
                "leave {metric} out of --metrics, or give --real instead of --real-stats"
            ));
        }
        EvalError::NeedsRealConditions => "give --real too, or --condition-sampling uniform",
        EvalError::NoLabels { .. } => {
            "use features of a checkpoint (d:CHECKPOINT) or pixels, or a network trained on \
             another dataset"
        }
        EvalError::NoAttributes { .. } => "leave --attributes out to learn its classes",
        EvalError::NoDiscriminator => {
            "give a checkpoint that dcgan train wrote (without a discriminator invert needs \
             --feature-weight 0, restore --discriminator-weight 0)"
        }
        EvalError::ConditionalDiscriminator | EvalError::NoHiddenActivations => {
            "use features of a network (dcgan eval train-features) or pixels"
        }
        EvalError::BatchDependentDiscriminator => "set the weight of its loss to 0",
        EvalError::NoProvenance { .. } => {
            "PNGs of dcgan sample, walk, arithmetic, turn, invert and restore have, unless another \
             program rewrote them"
        }
        EvalError::Provenance { .. } => "it may be of a newer version",
        EvalError::ReproducedSize { .. } => "it was changed since, or is of other networks",
        EvalError::NonFiniteLatentGradient { .. } => "give a lower --lr",
        EvalError::ResizeFactor { .. } => "give another --factor",
        EvalError::EmptyMask | EvalError::FullMask => "mark what is missing in white",
        EvalError::UnknownAttribute { .. } => "write NAME=1 or NAME=0, several with commas",
        EvalError::ExemplarSpec { .. } => {
            "write indices (3,17,42), seeds (seed:5,seed:9) or attributes"
        }
        EvalError::ValidationCount { .. } => "give another --validation",
        EvalError::LabelCount { labels, classes, .. } => {
            let divisible = (labels / classes).max(1) * classes;
            return Some(format!("--num-labels {divisible} would do"));
        }
        EvalError::SmallClass { .. } => "give fewer --num-labels, or a smaller --validation",
        EvalError::MissingNetwork { .. } => "choose the other one with --network",
        EvalError::UselessMaps { .. } | EvalError::NoPositionInBoxes { .. } => {
            "choose another --layer"
        }
        EvalError::BoxesFillImages => "give --negatives others, or smaller boxes",
        EvalError::NoBoxes { .. } => "write lines sample,x0,y0,x1,y1",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_hint_follows_the_message() {
        assert_eq!(
            compose("no device", Some("use --device cpu".into())),
            "no device: use --device cpu"
        );
        assert_eq!(compose("no device", None), "no device");
    }

    #[test]
    fn unknown_names_get_the_nearest_one() {
        let recipe = |name: &str| nn(&Recipe::preset(name).unwrap_err()).unwrap();
        assert!(recipe("tourch").starts_with("did you mean \"torch\"? (there are small, torch, "));
        assert!(recipe("PAPER").starts_with("did you mean \"paper\"?"));
        assert!(recipe("zzz").starts_with("there are small, torch, "));
        for (text, similar) in [
            ("[optimizer]\nlrr = 1.0", "optimizer.lr"),
            ("[optimiser]\nlr = 1.0", "optimizer"),
            ("lr = 1.0", "optimizer.lr"),
            ("[generator]\nslope = 0.1", "discriminator.slope"),
            ("[objective]\nlos = \"hinge\"", "objective.loss"),
            ("[image]\nbackgroud = \"white\"", "image.background"),
        ] {
            let error = Recipe::from_toml(&format!("base = \"small\"\n{text}")).unwrap_err();
            assert_eq!(nn(&error).unwrap(), format!("did you mean \"{similar}\"?"), "{text}");
        }
        let dataset = |spec: &str| data(&data::DataSpec::parse(spec).unwrap_err()).unwrap();
        assert_eq!(dataset("fashon-mnist"), "did you mean \"fashion-mnist\"?");
        assert_eq!(dataset("svhn-extra"), "get it with dcgan data fetch svhn-extra");
        assert!(dataset("no/such/place").starts_with("built-in are fashion-mnist, "));
    }

    #[test]
    fn formats_that_are_not_read_have_a_way_out() {
        let line = |error: DataError| compose(&error, data(&error));
        let foreign = |format| line(DataError::Foreign { path: "set/x".into(), format });
        for (format, hint) in [
            (ForeignFormat::Video, "ffmpeg"),
            (ForeignFormat::LfsPointer, "git lfs pull"),
            (ForeignFormat::PyTorch, "dcgan import"),
            (ForeignFormat::SevenZip, "7z x"),
        ] {
            let text = foreign(format);
            assert!(text.contains("set/x") && text.contains(hint), "{text}");
            assert!(text.contains(&format.to_string()), "{text}");
        }
        let parse = |spec: &str| line(data::DataSpec::parse(spec).unwrap_err());
        assert!(parse("~/photos").contains("$HOME"));
        assert!(parse("https://host/set.zip").contains("curl -LO \"https://host/set.zip\""));
        let hub = parse("hf://datasets/me/cats");
        let hint = match cfg!(feature = "parquet") {
            true => "get it first with dcgan data fetch hf://datasets/me/cats",
            false => "--features parquet",
        };
        assert!(hub.ends_with(hint), "{hub}");
        let status = |url: &str| fetch(&FetchError::Status { url: url.into(), status: 401 });
        assert!(
            status("https://huggingface.co/api/datasets/me/cats").unwrap().contains("HF_TOKEN")
        );
        assert!(status("https://host/mnist/x").unwrap().contains("--mirror"));
        assert!(parse("s3://bucket/cats").contains("copy it to this machine"));
    }

    #[test]
    fn errors_of_run_files_have_a_way_out() {
        let path = PathBuf::from("run");
        let line = |error: ArtifactError| compose(&error, artifact(&error));
        for (kind, hint) in [
            (ErrorKind::StorageFull, "free some space"),
            (ErrorKind::NotFound, "its folder is missing"),
            (ErrorKind::NotADirectory, "a file is where a folder should be"),
        ] {
            let text = line(ArtifactError::Write { path: path.clone(), source: kind.into() });
            assert!(text.contains("older files are untouched") && text.contains(hint), "{text}");
        }
        let full = |resumable| line(ArtifactError::NotEmpty { path: path.clone(), resumable });
        assert!(full(true).contains("--resume \"run\", or choose another --out"));
        assert!(!full(false).contains("--resume") && full(false).contains("--out"));
        let newer = ArtifactError::NewerSchema { path: path.clone(), found: 9, supported: 1 };
        assert!(line(newer).ends_with("update dcgan"));
        let plain = ArtifactError::NotCheckpoint { path };
        assert!(line(plain).ends_with("not a checkpoint: use dcgan import"));
    }
}
