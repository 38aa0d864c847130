use super::http::tests::{Server, answer, content, hex, honest};
use super::*;
use std::cell::RefCell;

fn set_of(files: Vec<RemoteFile>, base: Option<&'static str>) -> RemoteSet {
    RemoteSet {
        name: "toy",
        folder: "toy",
        page: "http://home.example/toy",
        base,
        files: files.leak(),
    }
}

fn file(name: &'static str, content: &[u8]) -> RemoteFile {
    RemoteFile { name, bytes: content.len() as u64, sha256: hex(content), kind: ArchiveKind::Plain }
}

fn fetched(
    set: &RemoteSet,
    datasets: &Path,
    mirror: Option<&str>,
) -> (Result<PathBuf, FetchError>, Vec<String>) {
    let reported = RefCell::new(Vec::new());
    let outcome =
        fetch_by(&Client::new(Duration::ZERO, None), set, datasets, mirror, &|progress| {
            reported.borrow_mut().push(match progress {
                FetchProgress::Here { file } => format!("{file} here"),
                FetchProgress::Downloading { file, done, total } if done == total => {
                    format!("{file} done")
                }
                FetchProgress::Downloading { .. } => return,
                FetchProgress::Unpacking { file } => format!("{file} unpacking"),
            });
        });
    (outcome, reported.into_inner())
}

#[test]
fn second_fetch_downloads_nothing() {
    let (a, b) = (content(), b"labels".to_vec());
    let datasets = tempfile::tempdir().unwrap();
    let server = Server::start(vec![honest(a.clone()), honest(b.clone())]);
    let mirror = format!("{}/some/where/", server.base);
    let set = set_of(vec![file("a.bin", &a), file("b.bin", &b)], None);
    let (outcome, reported) = fetched(&set, datasets.path(), Some(&mirror));
    let folder = outcome.unwrap();
    assert_eq!(folder, datasets.path().join("toy"));
    assert_eq!(reported, ["a.bin done", "b.bin done"]);
    assert!(
        fs::read(folder.join("a.bin")).unwrap() == a
            && fs::read(folder.join("b.bin")).unwrap() == b
    );
    assert!(server.requests()[1].starts_with("get /some/where/b.bin "));
    // The server has stopped; a request would fail.
    let (outcome, reported) = fetched(&set, datasets.path(), Some(&mirror));
    assert!(outcome.is_ok());
    assert_eq!(reported, ["a.bin here", "b.bin here"]);
    // Nor while another process holds the lock.
    let held = lock(&folder).unwrap();
    let error = fetched(&set, datasets.path(), Some(&mirror)).0.unwrap_err();
    assert!(matches!(error, FetchError::Busy { folder: busy } if busy == folder));
    drop(held);
    assert!(fetched(&set, datasets.path(), Some(&mirror)).0.is_ok());
    // Nor is another file overwritten.
    fs::write(folder.join("b.bin"), "mylabs").unwrap();
    let (outcome, _) = fetched(&set, datasets.path(), Some(&mirror));
    let path = folder.join("b.bin");
    assert!(matches!(outcome, Err(FetchError::InTheWay { path: found }) if found == path));
    assert_eq!(fs::read(folder.join("b.bin")).unwrap(), b"mylabs");
}

/// As in a read-only folder, which a test run by root cannot create.
#[test]
fn complete_set_needs_no_lock() {
    let (a, b) = (content(), b"labels".to_vec());
    let datasets = tempfile::tempdir().unwrap();
    let folder = datasets.path().join("toy");
    fs::create_dir_all(folder.join(LOCK)).unwrap();
    fs::write(folder.join("a.bin"), &a).unwrap();
    fs::write(folder.join("b.bin"), &b).unwrap();
    let set = set_of(vec![file("a.bin", &a), file("b.bin", &b)], None);
    let (outcome, reported) = fetched(&set, datasets.path(), None);
    assert_eq!(
        (outcome.unwrap(), reported),
        (folder.clone(), vec!["a.bin here".to_owned(), "b.bin here".to_owned()])
    );
    fs::remove_file(folder.join("b.bin")).unwrap();
    let message = fetched(&set, datasets.path(), None).0.unwrap_err().to_string();
    assert!(message.contains(LOCK), "{message}");
}

#[test]
fn archives_are_unpacked_and_removed() {
    let mut tar =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(5);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, "inside/a.bin", &b"hello"[..]).unwrap();
    let archive = tar.into_inner().unwrap().finish().unwrap();
    let kind = ArchiveKind::TarGz(sets::ArchiveContent { top: "inside", at_most: 100 });
    let set = set_of(vec![RemoteFile { kind, ..file("a.tar.gz", &archive) }], None);
    let datasets = tempfile::tempdir().unwrap();
    let server = Server::start(vec![honest(archive.clone())]);
    let (outcome, reported) = fetched(&set, datasets.path(), Some(&server.base));
    let folder = outcome.unwrap();
    assert_eq!(folder, datasets.path().join("toy/inside"));
    assert_eq!(reported, ["a.tar.gz done", "a.tar.gz unpacking"]);
    assert_eq!(fs::read(folder.join("a.bin")).unwrap(), b"hello");
    assert!(!datasets.path().join("toy/a.tar.gz").exists());
    assert_eq!(fetched(&set, datasets.path(), None).1, ["a.tar.gz here"]);
    // An archive that was put there by hand is unpacked without a request.
    let by_hand = tempfile::tempdir().unwrap();
    fs::create_dir(by_hand.path().join("toy")).unwrap();
    fs::write(by_hand.path().join("toy/a.tar.gz"), &archive).unwrap();
    assert_eq!(fetched(&set, by_hand.path(), None).1, ["a.tar.gz unpacking"]);
    assert!(by_hand.path().join("toy/inside/a.bin").is_file());
}

#[test]
fn missing_addresses_are_errors() {
    let datasets = tempfile::tempdir().unwrap();
    let celeba = remote_set("celeba").unwrap();
    let error = fetched(celeba, datasets.path(), None).0.unwrap_err();
    assert!(matches!(
        error,
        FetchError::NoAddress { name: "celeba", files, page, folder }
            if files.contains("img_align_celeba.zip")
                && page.contains("mmlab.ie.cuhk.edu.hk")
                && folder == datasets.path().join("celeba")
    ));
    assert!(matches!(
        remote_set("imagenet"),
        Err(FetchError::Unknown { name, known })
            if name == "imagenet" && known.contains("mnist, fashion-mnist, cifar-10")
    ));
    assert_eq!(remote_set("fashion").unwrap().name, "fashion-mnist");
    let error = fetched(celeba, datasets.path(), Some("ftp://host")).0.unwrap_err();
    assert!(matches!(error, FetchError::Address { url, .. } if url.starts_with("ftp://host")));
}

#[test]
fn mirror_without_the_file() {
    let datasets = tempfile::tempdir().unwrap();
    let server =
        Server::start(vec![Box::new(|_| answer("404 Not Found", &["Content-Length: 0"], b""))]);
    let set = set_of(vec![file("a.bin", b"x")], None);
    let error = fetched(&set, datasets.path(), Some(&server.base)).0.unwrap_err();
    assert!(matches!(error, FetchError::Status { url, status: 404 } if url.ends_with("/a.bin")));
}

#[test]
fn fetched_sets_are_found_by_name() {
    for set in builtin::BUILT_IN.iter().filter(|set| !set.bundled) {
        let place = remote_set(set.name).unwrap().place(Path::new("datasets"));
        assert_eq!(place, Path::new("datasets").join(set.folder), "{}", set.name);
    }
}
