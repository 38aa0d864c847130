//! Opening a dataset by all ranks of a process group, so that they have the same images or the same
//! error.
//!
//! Every function here is a collective operation: a rank that fails takes part in it, too, since
//! the others would wait for it.

use serde::{Deserialize, Serialize};
use tensor::distributed::ProcessGroup;

use crate::error::{DataError, RankFailure, RankProblem};
use crate::folder_listing::FolderListing;
use crate::formats;
use crate::preprocess::Preprocess;
use crate::source::{Source, Split};
use crate::spec::DataSpec;

/// What must be the same on all ranks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    /// The number of images.
    pub images: usize,
    /// The arguments that make images from them.
    pub settings: Option<(Preprocess, u64)>,
    /// The dataset's fingerprint, once it is known.
    pub fingerprint: Option<String>,
    /// The message for the first image that is left out.
    pub first_skipped: Option<String>,
}

impl Agreement {
    /// What differs from rank 0.
    fn difference(&self, root: &Self) -> Option<RankProblem> {
        if self.settings != root.settings {
            Some(RankProblem::Settings)
        } else if self.images != root.images {
            let (images, of_root) = (self.images, root.images);
            let first_skipped = self.first_skipped.clone();
            Some(RankProblem::Images { images, of_root, first_skipped })
        } else {
            (self.fingerprint != root.fingerprint).then_some(RankProblem::Contents)
        }
    }
}

/// The name and the source of a dataset.
type OpenDataset = (String, Box<dyn Source>);

/// Opens the source of a dataset. Rank 0 lists a folder of images and reads its labels and tables;
/// the others get the result, and look at the images alone. Other formats are opened by each rank.
///
/// The outer error is that of rank 0, on all ranks; the inner one is this rank's.
pub(crate) fn open_source(
    group: &ProcessGroup,
    spec: &str,
    split: Split,
    preprocess: &Preprocess,
) -> Result<Result<OpenDataset, DataError>, DataError> {
    let parse = || {
        preprocess.validate()?;
        DataSpec::parse(spec)
    };
    let open = || {
        let spec = parse()?;
        let source = spec.open(split)?;
        Ok((spec.name(), source))
    };
    if group.is_single() {
        return Ok(open());
    }
    if group.is_root() {
        let opened = open().and_then(|(name, source)| {
            let listing = source.listing(&DataSpec::parse(spec)?.root()?);
            Ok(((name, source), listing))
        });
        let message: Result<_, String> = match &opened {
            Ok((_, listing)) => Ok(listing),
            Err(error) => Err(error.to_string()),
        };
        group.broadcast(to_bytes(&message));
        return opened.map(|(opened, _)| Ok(opened));
    }
    let failed = |rank, message| {
        let problem = RankProblem::Failed(message);
        DataError::Ranks { spec: spec.to_owned(), failures: vec![RankFailure { rank, problem }] }
    };
    match from_bytes(&group.broadcast(Vec::new())) {
        Ok(Ok(None)) => Ok(open()),
        Ok(Ok(Some(listing))) => Ok(parse().and_then(|spec| of_listing(&spec, listing))),
        Ok(Err(message)) => Err(failed(0, message)),
        Err(problem) => Ok(Err(failed(group.rank(), problem))),
    }
}

/// The source of a folder that rank 0 has listed.
fn of_listing(spec: &DataSpec, listing: FolderListing) -> Result<OpenDataset, DataError> {
    Ok((spec.name(), formats::of_listing(&spec.root()?, listing)))
}

/// Returns `own` if all ranks have succeeded with the same [`Agreement`], or failed with the same
/// message or a [`DataError::Ranks`] that they had agreed on before; else an error that names the
/// ranks that failed or differ from rank 0.
pub(crate) fn agree<T>(
    group: &ProcessGroup,
    spec: &str,
    own: Result<T, DataError>,
    agreement: impl Fn(&T) -> Agreement,
) -> Result<T, DataError> {
    if group.is_single() {
        return own;
    }
    let status: Result<Agreement, String> = match &own {
        Ok(value) => Ok(agreement(value)),
        Err(error) => Err(error.to_string()),
    };
    let statuses: Vec<Result<Agreement, String>> = group
        .all_gather(&to_bytes(&status))
        .iter()
        .map(|bytes| from_bytes(bytes).unwrap_or_else(Err))
        .collect();
    let root = statuses[0].as_ref().ok();
    let problem = |status: &Result<Agreement, String>| match status {
        Ok(agreement) => agreement.difference(root?),
        Err(message) => Some(RankProblem::Failed(message.clone())),
    };
    let failures: Vec<RankFailure> = statuses
        .iter()
        .enumerate()
        .filter_map(|(rank, status)| Some(RankFailure { rank, problem: problem(status)? }))
        .collect();
    let is_known = match &own {
        Ok(_) => false,
        Err(DataError::Ranks { .. }) => true,
        Err(_) => failures.iter().all(|failure| failure.problem == failures[0].problem),
    };
    if failures.is_empty() || is_known && failures.len() == statuses.len() {
        return own;
    }
    Err(DataError::Ranks { spec: spec.to_owned(), failures })
}

/// A message to other ranks.
pub(crate) fn to_bytes(message: &impl Serialize) -> Vec<u8> {
    // Never fails: the types here have text as the keys of maps.
    serde_json::to_vec(message).unwrap_or_default()
}

/// A message of another rank.
pub(crate) fn from_bytes<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("it runs another version of this program than others ({error})"))
}
