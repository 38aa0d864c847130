use super::*;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use proptest::prelude::*;
use rawzip::CompressionMethod;
use std::io::Write;
use tar::EntryType;

const CONTENT: ArchiveContent = ArchiveContent { top: "set", at_most: 1000 };

/// A tar entry with any name, also one that `tar`'s own writer would refuse.
fn entry(name: &str, kind: EntryType, data: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(data.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn gz(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[entries.concat(), vec![0; 1024]].concat()).unwrap();
    encoder.finish().unwrap()
}

fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut archive = rawzip::ZipArchiveWriter::new(&mut out);
    for (name, data) in files {
        let (mut entry, config) =
            archive.new_file(name).compression_method(CompressionMethod::DEFLATE).start().unwrap();
        let mut writer = config.wrap(DeflateEncoder::new(&mut entry, Compression::fast()));
        writer.write_all(data).unwrap();
        let (encoder, descriptor) = writer.finish().unwrap();
        encoder.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    // The writer would not write such names.
    while let Some(at) = out.windows(2).position(|pair| pair == b"UP") {
        out[at..at + 2].copy_from_slice(b"..");
    }
    while let Some(at) = out.windows(4).position(|four| four == b"ROOT") {
        out[at..at + 4].copy_from_slice(b"/tmp");
    }
    out
}

/// Unpacks inside `outer/inner`, so that an escape is visible in `outer`.
struct UnpackDir(tempfile::TempDir);

impl UnpackDir {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.inner()).unwrap();
        place
    }

    fn inner(&self) -> PathBuf {
        self.0.path().join("inner")
    }

    fn unpack(&self, archive: &[u8], kind: ArchiveKind) -> Result<(), FetchError> {
        let path = self.inner().join("archive");
        fs::write(&path, archive).unwrap();
        unpack(&path, kind, &self.inner())
    }

    /// All paths except the archive, relative and sorted.
    fn found(&self) -> Vec<String> {
        let walk = walkdir::WalkDir::new(self.0.path()).min_depth(1).sort_by_file_name();
        let relative = walk
            .into_iter()
            .map(|entry| entry.unwrap().path().strip_prefix(self.0.path()).unwrap().to_owned());
        let shown = relative.map(|path| path.to_str().unwrap().replace('\\', "/"));
        shown.filter(|path| path != "inner" && path != "inner/archive").collect()
    }
}

fn tar_of(entries: &[Vec<u8>]) -> (Vec<u8>, ArchiveKind) {
    (gz(entries), ArchiveKind::TarGz(CONTENT))
}

fn zip_of(files: &[(&str, &[u8])]) -> (Vec<u8>, ArchiveKind) {
    (zipped(files), ArchiveKind::Zip(CONTENT))
}

#[test]
fn archives_unpack_and_leave_nothing_else() {
    let entries = [
        entry("set/", EntryType::Directory, b""),
        entry("./set/a.bin", EntryType::Regular, b"hello"),
        entry("set/deep/b.bin", EntryType::Regular, &[7; 995]),
        entry("aside.txt", EntryType::Regular, b""),
    ];
    for (archive, kind) in [
        tar_of(&entries),
        zip_of(&[("set/a.bin", b"hello"), ("set/deep/b.bin", &[7; 995]), ("aside.txt", b"")]),
    ] {
        let place = UnpackDir::new();
        place.unpack(&archive, kind).unwrap();
        assert_eq!(
            place.found(),
            ["inner/set", "inner/set/a.bin", "inner/set/deep", "inner/set/deep/b.bin"]
        );
        assert_eq!(fs::read(place.inner().join("set/a.bin")).unwrap(), b"hello");
        // A second time the folder exists, and is not changed.
        fs::write(place.inner().join("set/a.bin"), "mine").unwrap();
        assert!(matches!(place.unpack(&archive, kind), Err(FetchError::InTheWay { .. })));
        assert_eq!(fs::read(place.inner().join("set/a.bin")).unwrap(), b"mine");
        assert_eq!(place.found().len(), 4);
    }
}

#[test]
fn what_an_interrupted_try_left_is_cleared() {
    let place = UnpackDir::new();
    fs::create_dir(place.inner().join(STAGING)).unwrap();
    fs::write(place.inner().join(STAGING).join("a.bin"), "old").unwrap();
    let (archive, kind) = zip_of(&[("set/a.bin", b"new")]);
    place.unpack(&archive, kind).unwrap();
    assert_eq!(place.found(), ["inner/set", "inner/set/a.bin"]);
}

#[test]
fn archives_that_mean_harm_are_refused_and_leave_nothing() {
    let regular = |name| entry(name, EntryType::Regular, b"x");
    let mut link = tar::Header::new_ustar();
    link.as_mut_bytes()[..5].copy_from_slice(b"set/l");
    link.set_entry_type(EntryType::Symlink);
    link.set_link_name("/etc").unwrap();
    link.set_size(0);
    link.set_cksum();
    let cases: Vec<((Vec<u8>, ArchiveKind), &str)> = vec![
        (tar_of(&[regular("set/../../out.txt")]), "leads out"),
        (tar_of(&[regular("/tmp/out.txt")]), "absolute path"),
        (tar_of(&[regular("set/a\\..\\b")]), "leads out"),
        (tar_of(&[regular("c:out.txt")]), "absolute path"),
        (tar_of(&[regular("set/a:b")]), "leads out"),
        (tar_of(&[link.as_bytes().to_vec()]), "is a link"),
        (tar_of(&[entry("set/h", EntryType::Link, b"")]), "is a link"),
        (tar_of(&[entry("set/dev", EntryType::Char, b"")]), "neither a file nor a folder"),
        (tar_of(&[regular("set/a"), regular("set/a")]), "two of its files"),
        (tar_of(&[entry("set/big", EntryType::Regular, &[0; 1001])]), "more than the set holds"),
        (tar_of(&[regular("other/a")]), "there is no \"set\""),
        (tar_of(&[]), "there is no \"set\""),
        (zip_of(&[("set/UP/UP/out.txt", b"x")]), "leads out"),
        (zip_of(&[("ROOT/out.txt", b"x")]), "absolute path"),
        (zip_of(&[("set/bomb", &[0; 5000])]), "more than the set holds"),
        (zip_of(&[("set/a", b"x"), ("set/a", b"y")]), "two of its files"),
        ((b"no archive".to_vec(), ArchiveKind::TarGz(CONTENT)), ""),
        ((b"no archive".to_vec(), ArchiveKind::Zip(CONTENT)), ""),
    ];
    let long = gz(&[regular("set/a"), vec![0; 3 << 20]]);
    for ((archive, kind), part) in
        cases.into_iter().chain([((long, ArchiveKind::TarGz(CONTENT)), "continues after")])
    {
        let place = UnpackDir::new();
        let message = place.unpack(&archive, kind).unwrap_err().to_string();
        assert!(
            message.starts_with("cannot unpack")
                && message.contains(part)
                && !message.contains('\n'),
            "{part}: {message}"
        );
        assert_eq!(place.found(), Vec::<String>::new(), "{message}");
    }
}

#[test]
fn truncated_archives_are_refused() {
    let entries = [
        entry("set/a", EntryType::Regular, b"hello"),
        entry("set/b", EntryType::Regular, &[9; 900]),
    ];
    for (archive, kind) in [tar_of(&entries), zip_of(&[("set/a", b"hello"), ("set/b", &[9; 900])])]
    {
        for length in 0..archive.len() {
            let place = UnpackDir::new();
            let outcome = place.unpack(&archive[..length], kind);
            assert!(matches!(outcome, Err(FetchError::Archive { .. })), "{length}: {outcome:?}");
            assert_eq!(place.found(), Vec::<String>::new());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_archives_never_panic_nor_escape(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        kind in any::<bool>(),
    ) {
        let (mut archive, kind) = if kind {
            tar_of(&[
                entry("set/a", EntryType::Regular, b"hello"),
                entry("set/b", EntryType::Regular, &[9; 100]),
            ])
        } else {
            zip_of(&[("set/a", b"hello"), ("set/b", &[9; 100])])
        };
        let at = at.index(archive.len());
        archive[at] = byte;
        let place = UnpackDir::new();
        let _ = place.unpack(&archive, kind);
        let found = place.found();
        let inside = |path: &String| path == "inner/set" || path.starts_with("inner/set/");
        prop_assert!(found.iter().all(inside), "{found:?}");
    }

    #[test]
    fn no_name_leads_out(
        name in prop::collection::vec(prop::sample::select(b"a./\\:\0".to_vec()), 0..12),
    ) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().to_owned();
        let mut target = UnpackTarget { root, bytes_left: 1, files_left: 1 };
        if let Ok(name) = formats::file_store::checked_name(&name)
            && let Ok(path) = target.place(&name)
        {
            let inside = path.strip_prefix(place.path()).unwrap();
            prop_assert!(inside.components().all(|part| matches!(part, Component::Normal(_))));
        }
    }
}
