//! What pictures become before a network sees them: flags and defaults that `train` and `data preview` share.

use super::recipes;
use crate::error::CliError;
use crate::parse;
use data::{DataError, DataSpec, Fit, Preprocess, ResizeFilter, Split};
use nn::Recipe;
use nn::recipe::{self, DEFAULT};

/// From this side on, pictures of one size too are learned with the recipe for large ones.
const LARGE: usize = 48;

/// Flags that say what pictures become. What is not given is as the recipe's `[image]` says, if it does.
#[derive(clap::Args)]
pub struct PreprocessArgs {
    /// Height and width of the pictures: each 4 to 15 doubled a few times, such as 28, 32, 64, 96 or 48x64 [default: the pictures' own
    /// where they all have one below 48 or come from a packed file, else the recipe's].
    #[arg(long, value_name = "N|HxW", value_parser = parse::image_size, help_heading = "Data")]
    pub image: Option<[usize; 2]>,
    /// 1 for grey, 3 for colour, 4 with transparency [default: the pictures' own in sets of one shape such as MNIST and CIFAR,
    /// else the recipe's].
    #[arg(long, value_name = "1|3|4", value_parser = parse::channels, help_heading = "Data")]
    pub channels: Option<usize>,
    /// How pictures of another size are brought to --image [default: the recipe's, else pad for sets of one size up to a sixth
    /// smaller than that (28 in 32), else crop].
    #[arg(long, value_enum, help_heading = "Data")]
    pub fit: Option<Fit>,
    /// Cut this much out of the centre first, in the pictures' own pixels: 108, 140 or 160 for CelebA [default: the recipe's, else
    /// nothing is cut].
    #[arg(long, value_name = "N|HxW", value_parser = parse::size, help_heading = "Data")]
    pub crop: Option<[u32; 2]>,
    /// Bring the shorter side to N pixels and take the centre of that [default: the recipe's, else as much as fits is taken].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(data::MAX_SIDE)), help_heading = "Data")]
    pub min_side: Option<u32>,
    /// What resizes [default: the recipe's, else lanczos3].
    #[arg(long, value_enum, help_heading = "Data")]
    pub filter: Option<ResizeFilter>,
    /// The colour behind transparent and around padded pictures: RRGGBB, black, white or grey (808080, the middle of the range)
    /// [default: the recipe's, else the set's own (white for emoji), else black].
    #[arg(long, value_name = "COLOR", value_parser = parse::color, help_heading = "Data")]
    pub background: Option<[u8; 3]>,
    /// Mirror every second picture, by chance: twice as much to learn from where left and right mean the same [default: the recipe's,
    /// which is false where it does not say].
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        help_heading = "Data"
    )]
    pub flip: Option<bool>,
}

/// What flags ask for, or else the recipe.
struct RequestedPreprocess {
    fit: Option<Fit>,
    background: Option<[u8; 3]>,
    crop: Option<[u32; 2]>,
    min_side: Option<u32>,
    filter: Option<ResizeFilter>,
}

/// What is known of a set before any of it is decoded.
pub struct DatasetInfo {
    spec: DataSpec,
    /// `[H, W, C]` where all pictures have it.
    shape: Option<[usize; 3]>,
    /// What was done to the pictures of a packed file.
    prepared: Option<Preprocess>,
}

impl DatasetInfo {
    /// Looks at headers.
    ///
    /// # Errors
    /// Files that are missing or whose header is damaged.
    pub fn of(spec: &DataSpec) -> Result<Self, DataError> {
        let shape = spec.image_shape(Split::Train)?.map(|shape| shape.map(|side| side as usize));
        Ok(Self { spec: spec.clone(), shape, prepared: spec.packed_preprocess()? })
    }
}

impl PreprocessArgs {
    /// The recipe that was named, or the one that suits the data, with the size and channels that these flags or the data ask for. A
    /// recipe that comes `with` weights is taken as it is, unless another is named.
    ///
    /// # Errors
    /// A recipe that is unknown or faulty.
    pub fn recipe(
        &self,
        name: Option<&str>,
        known: &DatasetInfo,
        with: Option<Recipe>,
    ) -> Result<Recipe, CliError> {
        let fixed = with.is_some() && name.is_none();
        let below = |size: [usize; 2]| size.iter().all(|&side| side < LARGE);
        let mut chosen = match (name, with, known.shape) {
            (Some(name), ..) => recipes::load(name)?,
            (None, Some(recipe), _) => recipe,
            // The plain recipes collapse on such sets.
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

    /// How the pictures of a set become the recipe's.
    ///
    /// # Errors
    /// Flags that do not go together, or not with what a packed file's pictures are already.
    pub fn preprocess(&self, recipe: &Recipe, known: &DatasetInfo) -> Result<Preprocess, CliError> {
        let [height, width] = recipe.image.size;
        let requested = self.requested(&recipe.image);
        let whole = requested.crop.is_none() && requested.min_side.is_none();
        let fit = match (requested.fit, known.shape.filter(|_| whole)) {
            (Some(fit), _) => fit,
            // Enlarging a small picture by a few pixels (28 to 32) blurs it; a margin does not.
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
        // The recipe's own keys go together, so that what does not comes from flags.
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

    /// What the pictures of `spec` become for the recipe of this name, or the one that suits them.
    ///
    /// # Errors
    /// Data that are missing, a recipe that is unknown, or flags that do not go together.
    pub fn of_recipe(&self, name: Option<&str>, spec: &DataSpec) -> Result<Preprocess, CliError> {
        let known = DatasetInfo::of(spec)?;
        let recipe = self.recipe(name, &known, None)?;
        recipe.validate().map_err(CliError::usage)?;
        self.preprocess(&recipe, &known)
    }

    /// Each key from its flag, or else from the recipe, whose numbers are within the limits of these types.
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

    /// What a packed file's pictures have become, mirrored or not; neither flags nor the recipe must ask for anything else.
    fn as_prepared(
        &self,
        prepared: &Preprocess,
        requested: &RequestedPreprocess,
        flip: bool,
    ) -> Result<Preprocess, CliError> {
        let differs = [
            (
                "--fit",
                "fit",
                self.fit.is_some(),
                requested.fit.is_some_and(|fit| fit != prepared.fit),
            ),
            (
                "--background",
                "background",
                self.background.is_some(),
                requested.background.is_some_and(|b| b != prepared.background),
            ),
            (
                "--crop",
                "crop",
                self.crop.is_some(),
                requested.crop.is_some() && requested.crop != prepared.crop,
            ),
            (
                "--min-side",
                "min_side",
                self.min_side.is_some(),
                requested.min_side.is_some() && requested.min_side != prepared.min_side,
            ),
            (
                "--filter",
                "filter",
                self.filter.is_some(),
                requested.filter.is_some_and(|filter| filter != prepared.filter),
            ),
        ];
        let was = "the packed file holds pictures that were brought to this size otherwise; prepare another with this";
        match differs.iter().find(|(.., differs)| *differs) {
            Some((flag, _, true, _)) => Err(CliError::Usage(format!("{flag}: {was} flag"))),
            Some((_, key, ..)) => Err(CliError::Failed(format!(
                "recipe key \"image.{key}\": {was} recipe, or choose another --recipe"
            ))),
            None => Ok(Preprocess { flip, ..prepared.clone() }),
        }
    }
}

/// The recipe for small pictures, at their own size if networks can have it.
fn small(size: [usize; 2]) -> Result<Recipe, CliError> {
    let preset = Recipe::preset(DEFAULT)?;
    let mut same_size = preset.clone();
    same_size.image.size = size;
    Ok(if same_size.validate().is_ok() { same_size } else { preset })
}

/// Whether a side lies in another with at most a sixth of it as margin.
fn fits_closely(side: usize, within: usize) -> bool {
    side <= within && (within - side) * 6 <= within
}
