//! Preprocessing of images: flags and defaults that `train`, `data` and `eval` share; and opening
//! datasets.

use super::recipes;
use crate::error::CliError;
use crate::parse::count;
use crate::{parse, render};
use data::{DataError, DataSpec, Dataset, Fit, Preprocess, ResizeFilter, Split};
use nn::Recipe;
use nn::recipe::{self, DEFAULT};
use tensor::distributed::ProcessGroup;

/// From this side on, the default recipe is the one for large images, even if all images have one
/// size.
const MIN_LARGE_SIDE: usize = 48;

/// Flags of the preprocessing. The recipe's `[image]` section sets those that are not given.
#[derive(clap::Args, Default)]
#[command(next_help_heading = "Data")]
pub struct PreprocessArgs {
    /// Image size (64 or 48x64): each side 4 to 15 times a power of 2.
    ///
    /// The default is the images' own size if all have one below 48 or come from a packed file,
    /// else the size in the recipe.
    #[arg(long, value_name = "N|HxW", value_parser = parse::image_size)]
    pub image: Option<[usize; 2]>,
    /// Image channels: 1 (gray), 3 (RGB) or 4 (RGBA) [default: the images' own in datasets of one
    /// shape such as MNIST and CIFAR, else 3].
    #[arg(long, value_name = "1|3|4", value_parser = parse::channels)]
    pub channels: Option<usize>,
    /// Fit: how images of another size are brought to --image [default: crop; pad for datasets of
    /// one size up to a sixth smaller (28 in 32)].
    #[arg(long, value_enum)]
    pub fit: Option<Fit>,
    /// Center crop before resizing, in pixels of the original: 108, 140 or 160 for CelebA [default:
    /// none].
    #[arg(long, value_name = "N|HxW", value_parser = parse::size)]
    pub crop: Option<[u32; 2]>,
    /// Resize the shorter side to N pixels, then crop the center [default: the largest possible
    /// crop].
    #[arg(long, value_name = "N", value_parser = count(1..=i64::from(data::MAX_SIDE)))]
    pub min_side: Option<u32>,
    /// Resampling filter [default: lanczos3].
    #[arg(long, value_enum)]
    pub filter: Option<ResizeFilter>,
    /// Background color of transparent and padded images: RRGGBB, black, white or gray (808080)
    /// [default: the dataset's (white for emoji), else black].
    #[arg(long, value_name = "COLOR", value_parser = parse::color)]
    pub background: Option<[u8; 3]>,
    /// Flip images horizontally at random [default: false].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
        require_equals = true)]
    pub flip: Option<bool>,
}

/// The preprocessing that flags or else the recipe request.
struct RequestedPreprocess {
    fit: Option<Fit>,
    background: Option<[u8; 3]>,
    crop: Option<[u32; 2]>,
    min_side: Option<u32>,
    filter: Option<ResizeFilter>,
}

/// The information in the headers of a dataset, before any image is decoded.
pub struct DatasetInfo {
    spec: DataSpec,
    /// `[H, W, C]` if all images have it.
    shape: Option<[usize; 3]>,
    /// The preprocessing of the images of a packed file.
    prepared: Option<Preprocess>,
}

impl DatasetInfo {
    /// Reads the headers.
    pub fn of(spec: &DataSpec) -> Result<Self, DataError> {
        let shape = spec.image_shape(Split::Train)?.map(|shape| shape.map(|side| side as usize));
        Ok(Self { spec: spec.clone(), shape, prepared: spec.packed_preprocess()? })
    }
}

impl PreprocessArgs {
    /// The recipe called `name`, or the default one for the dataset, with the size and channels of
    /// these flags or the dataset. A recipe that comes `with` weights is taken unchanged, unless
    /// another is named.
    pub fn recipe(
        &self,
        name: Option<&str>,
        known: &DatasetInfo,
        with: Option<Recipe>,
    ) -> Result<Recipe, CliError> {
        let fixed = with.is_some() && name.is_none();
        let below = |size: [usize; 2]| size.iter().all(|&side| side < MIN_LARGE_SIDE);
        let mut chosen = match (name, with, known.shape) {
            (Some(name), ..) => recipes::load(name)?,
            (None, Some(recipe), _) => recipe,
            // The plain recipes collapse on flat graphics.
            (None, None, _) if known.spec.is_small_flat_graphics() => Recipe::preset("modern")?,
            (None, None, Some([h, w, _])) if below([h, w]) && self.image.is_none_or(below) => {
                small([h, w])?
            }
            (None, None, _) => Recipe::preset("torch")?,
        };
        if let Some([.., channels]) = known.shape.filter(|_| !fixed) {
            chosen.image.channels = channels;
        }
        if let Some([height, width, _]) = known.shape.filter(|_| !fixed && known.prepared.is_some())
        {
            chosen.image.size = [height, width];
        }
        chosen.image.channels = self.channels.unwrap_or(chosen.image.channels);
        chosen.image.size = self.image.unwrap_or(chosen.image.size);
        chosen.image.flip = self.flip.unwrap_or(chosen.image.flip);
        Ok(chosen)
    }

    /// The preprocessing of a dataset for the recipe.
    pub fn preprocess(&self, recipe: &Recipe, known: &DatasetInfo) -> Result<Preprocess, CliError> {
        let [height, width] = recipe.image.size;
        let requested = self.requested(&recipe.image);
        let whole = requested.crop.is_none() && requested.min_side.is_none();
        let fit = match (requested.fit, known.shape.filter(|_| whole)) {
            (Some(fit), _) => fit,
            // Enlarging a small image by a few pixels (28 to 32) blurs it; a margin does not.
            (None, Some([h, w, _]))
                if (height, width) != (h, w)
                    && fits_closely(h, height)
                    && fits_closely(w, width) =>
            {
                Fit::Pad
            }
            (None, _) => Fit::Crop,
        };
        // Both were validated to be far below the limits of these types.
        let preprocess = Preprocess {
            size: [height as u32, width as u32],
            channels: recipe.image.channels as u8,
            fit,
            background: requested.background.or(known.spec.background()).unwrap_or_default(),
            crop: requested.crop,
            min_side: requested.min_side,
            filter: requested.filter.unwrap_or_default(),
            flip: recipe.image.flip,
        };
        // The recipe's own keys were validated, so that flags are the cause of an error.
        preprocess.validate().map_err(CliError::usage)?;
        match &known.prepared {
            Some(prepared)
                if (prepared.size, prepared.channels) == (preprocess.size, preprocess.channels) =>
            {
                self.as_prepared(prepared, &requested, recipe.image.flip)
            }
            _ => Ok(preprocess),
        }
    }

    /// The preprocessing of `spec` for the recipe called `name`, or the default one for the
    /// dataset.
    pub fn of_recipe(&self, name: Option<&str>, spec: &DataSpec) -> Result<Preprocess, CliError> {
        let known = DatasetInfo::of(spec)?;
        let recipe = self.recipe(name, &known, None)?;
        recipe.validate().map_err(CliError::usage)?;
        self.preprocess(&recipe, &known)
    }

    /// Each key from its flag, or else from the recipe, whose values fit these types.
    fn requested(&self, image: &recipe::ImageConfig) -> RequestedPreprocess {
        let crop = || image.crop.map(|sides| sides.map(|side| side as u32));
        RequestedPreprocess {
            fit: self.fit.or(image.fit),
            background: self.background.or(image.background),
            crop: self.crop.or_else(crop),
            min_side: self.min_side.or(image.min_side.map(|side| side as u32)),
            filter: self.filter.or(image.filter),
        }
    }

    /// The preprocessing of a packed file, mirrored or not; flags and the recipe must agree with
    /// it.
    fn as_prepared(
        &self,
        prepared: &Preprocess,
        requested: &RequestedPreprocess,
        flip: bool,
    ) -> Result<Preprocess, CliError> {
        let Preprocess { fit, background, crop, min_side, filter, .. } = *prepared;
        // The flag, the recipe's key, whether the flag was given, and whether the values differ.
        let checks = [
            ("--fit", "fit", self.fit.is_some(), requested.fit.is_some_and(|own| own != fit)),
            (
                "--background",
                "background",
                self.background.is_some(),
                requested.background.is_some_and(|own| own != background),
            ),
            (
                "--crop",
                "crop",
                self.crop.is_some(),
                requested.crop.is_some() && requested.crop != crop,
            ),
            (
                "--min-side",
                "min_side",
                self.min_side.is_some(),
                requested.min_side.is_some() && requested.min_side != min_side,
            ),
            (
                "--filter",
                "filter",
                self.filter.is_some(),
                requested.filter.is_some_and(|own| own != filter),
            ),
        ];
        let was =
            "the packed file was prepared with other preprocessing; prepare another with this";
        match checks.iter().find(|(.., differs)| *differs) {
            Some((flag, _, true, _)) => Err(usage!("{flag}: {was} flag")),
            Some((_, key, ..)) => Err(failure!(
                "recipe key \"image.{key}\": {was} recipe, or choose another --recipe"
            )),
            None => Ok(Preprocess { flip, ..prepared.clone() }),
        }
    }
}

/// The recipe for small images, at their own size if the networks support it.
fn small(size: [usize; 2]) -> Result<Recipe, CliError> {
    let preset = Recipe::preset(DEFAULT)?;
    let mut same_size = preset.clone();
    same_size.image.size = size;
    Ok(if same_size.validate().is_ok() { same_size } else { preset })
}

/// Whether `side` fits into `within` with a margin of at most a sixth of it.
fn fits_closely(side: usize, within: usize) -> bool {
    side <= within && (within - side) * 6 <= within
}

/// Opens a split of a dataset under a progress bar, and warns about files that are left out (not
/// with `json`).
pub fn open_dataset(
    spec: &str,
    split: Split,
    preprocess: &Preprocess,
    json: bool,
) -> Result<Dataset, CliError> {
    let alone = ProcessGroup::default();
    open_dataset_on(&alone, spec, split, preprocess, data::CACHE_BYTES, json)
}

/// [`open_dataset`] by all ranks of a group together, with another limit, in bytes, on the memory
/// for decoded images.
pub fn open_dataset_on(
    group: &ProcessGroup,
    spec: &str,
    split: Split,
    preprocess: &Preprocess,
    cache_bytes: u64,
    json: bool,
) -> Result<Dataset, CliError> {
    let open = |progress: &dyn Fn(data::ScanProgress)| {
        Dataset::open_on(group, spec, split, preprocess, cache_bytes, progress)
    };
    let dataset = render::count_images("reading images", open)?;
    if !json {
        render::warn_left_out(dataset.report());
    }
    Ok(dataset)
}

/// Opens a split of a dataset, preprocessed without flags for the networks of `recipe`.
pub fn open_for_recipe(
    spec: &str,
    split: Split,
    recipe: &Recipe,
    json: bool,
) -> Result<Dataset, CliError> {
    let info = DatasetInfo::of(&DataSpec::parse(spec)?)?;
    let preprocess = PreprocessArgs::default().preprocess(recipe, &info)?;
    open_dataset(spec, split, &preprocess, json)
}
