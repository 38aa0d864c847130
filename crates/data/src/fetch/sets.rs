//! The datasets that can be fetched: their addresses, and the lengths and checksums of their files.
//!
//! Sizes and SHA-256 are those that TensorFlow Datasets 4.9.10 records for the same files. The
//! addresses are the datasets' own (MNIST's is a copy kept by Google: its author's page no longer
//! serves the files).

/// A dataset that can be fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct RemoteSet {
    /// The dataset's name.
    pub name: &'static str,
    /// The dataset's folder inside the datasets folder.
    pub folder: &'static str,
    /// The page that describes it, its authors and its terms.
    pub page: &'static str,
    /// The URL to which the files' names are appended; `None` if there is no plain one.
    pub base: Option<&'static str>,
    pub(crate) files: &'static [RemoteFile],
}

/// A file of a dataset.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    pub name: &'static str,
    pub bytes: u64,
    /// The SHA-256 in hexadecimal.
    pub sha256: &'static str,
    pub kind: ArchiveKind,
}

/// How a file is unpacked after the download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    /// A plain file, kept as it is.
    Plain,
    /// A gzipped tar archive, unpacked and then removed.
    TarGz(ArchiveContent),
    /// A zip archive, unpacked and then removed.
    Zip(ArchiveContent),
}

/// The contents of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ArchiveContent {
    /// The folder in it that holds everything.
    pub top: &'static str,
    /// The most bytes that it may unpack to.
    pub at_most: u64,
}

impl RemoteSet {
    /// The size of the download in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The names of the files that are downloaded.
    pub fn file_names(&self) -> impl Iterator<Item = &'static str> {
        self.files.iter().map(|file| file.name)
    }
}

const fn plain(name: &'static str, bytes: u64, sha256: &'static str) -> RemoteFile {
    RemoteFile { name, bytes, sha256, kind: ArchiveKind::Plain }
}

pub(crate) static SETS: &[RemoteSet] = &[
    RemoteSet {
        name: "mnist",
        folder: "mnist",
        page: "http://yann.lecun.com/exdb/mnist/",
        base: Some("https://storage.googleapis.com/cvdf-datasets/mnist"),
        files: &[
            plain(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            plain(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            plain(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            plain(
                "t10k-labels-idx1-ubyte.gz",
                4542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ],
    },
    RemoteSet {
        name: "fashion-mnist",
        folder: "fashion-mnist",
        page: "https://github.com/zalandoresearch/fashion-mnist",
        base: Some("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"),
        files: &[
            plain(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            plain(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            plain(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            plain(
                "t10k-labels-idx1-ubyte.gz",
                5148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ],
    },
    RemoteSet {
        name: "cifar-10",
        folder: "cifar-10",
        page: "https://www.cs.toronto.edu/~kriz/cifar.html",
        base: Some("https://www.cs.toronto.edu/~kriz"),
        files: &[RemoteFile {
            name: "cifar-10-binary.tar.gz",
            bytes: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            kind: ArchiveKind::TarGz(ArchiveContent {
                top: "cifar-10-batches-bin",
                at_most: 200_000_000,
            }),
        }],
    },
    RemoteSet {
        name: "cifar-100",
        folder: "cifar-100",
        page: "https://www.cs.toronto.edu/~kriz/cifar.html",
        base: Some("https://www.cs.toronto.edu/~kriz"),
        files: &[RemoteFile {
            name: "cifar-100-binary.tar.gz",
            bytes: 168_513_733,
            sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            kind: ArchiveKind::TarGz(ArchiveContent {
                top: "cifar-100-binary",
                at_most: 200_000_000,
            }),
        }],
    },
    RemoteSet {
        name: "svhn",
        folder: "svhn",
        page: "http://ufldl.stanford.edu/housenumbers/",
        base: Some("http://ufldl.stanford.edu/housenumbers"),
        files: &[
            plain(
                "train_32x32.mat",
                182_040_794,
                "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
            ),
            plain(
                "test_32x32.mat",
                64_275_384,
                "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
            ),
        ],
    },
    RemoteSet {
        name: "svhn-extra",
        folder: "svhn",
        page: "http://ufldl.stanford.edu/housenumbers/",
        base: Some("http://ufldl.stanford.edu/housenumbers"),
        files: &[plain(
            "extra_32x32.mat",
            1_329_278_602,
            "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3",
        )],
    },
    RemoteSet {
        name: "stl-10",
        folder: "stl-10",
        page: "https://cs.stanford.edu/~acoates/stl10/",
        base: Some("http://ai.stanford.edu/~acoates/stl10"),
        files: &[RemoteFile {
            name: "stl10_binary.tar.gz",
            bytes: 2_640_397_119,
            sha256: "f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
            kind: ArchiveKind::TarGz(ArchiveContent {
                top: "stl10_binary",
                at_most: 3_300_000_000,
            }),
        }],
    },
    // Stored on a drive that serves large files to browsers only.
    RemoteSet {
        name: "celeba",
        folder: "celeba",
        page: "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        base: None,
        files: &[
            plain(
                "list_attr_celeba.txt",
                26_721_026,
                "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
            ),
            plain(
                "list_eval_partition.txt",
                2_836_386,
                "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
            ),
            RemoteFile {
                name: "img_align_celeba.zip",
                bytes: 1_443_490_838,
                sha256: "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
                kind: ArchiveKind::Zip(ArchiveContent {
                    top: "img_align_celeba",
                    at_most: 2_000_000_000,
                }),
            },
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        for set in SETS {
            assert!(!set.files.is_empty() && set.page.starts_with("http"), "{}", set.name);
            assert!(
                set.base.is_none_or(|base| base.starts_with("http") && !base.ends_with('/')),
                "{}",
                set.name
            );
            for file in set.files {
                let hexadecimal =
                    file.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                assert!(file.sha256.len() == 64 && hexadecimal && file.bytes > 0, "{}", file.name);
                assert!(
                    !file.name.contains(['/', '\\']) && !file.name.starts_with('.'),
                    "{}",
                    file.name
                );
            }
        }
        let mut names: Vec<_> = SETS.iter().map(|set| set.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETS.len());
    }
}
