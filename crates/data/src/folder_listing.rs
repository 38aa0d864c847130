//! What a process needs to read the images of a folder that another one has listed.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::attributes::Attributes;

/// The images of one split of a folder, with everything that was read from other files of it. Paths
/// are relative to the dataset's path, which may be another one on another machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FolderListing {
    /// The folder in which the images' names are paths.
    pub folder: OsString,
    /// Names, with the path of the file unless it is the one in `folder` of that name.
    pub images: Vec<(String, Option<OsString>)>,
    pub labels: Option<Vec<u32>>,
    pub class_names: Vec<String>,
    pub hashed_labels: Option<Vec<u32>>,
    pub attributes: Attributes,
    /// The file `attributes.csv`.
    pub table: Option<OsString>,
    /// The [description](crate::LayoutReport::description) of the report.
    pub description: String,
}
