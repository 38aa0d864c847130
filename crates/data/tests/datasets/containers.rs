//! What holds the images: compressed tar archives, extended headers, memory maps, packed names.

use std::fs;

use crate::common::{copied, fixture, open, open_as, plain, problem};
use data::{FileProblem, Preprocess, Split, prepare};
use tempfile::tempdir;

fn rgb(side: u32) -> Preprocess {
    Preprocess::new([side, side], 3)
}

const COMPRESSED: [&str; 4] = ["tree.tar.gz", "tree.tar.bz2", "tree.tar.xz", "tree.tar.zst"];

#[test]
fn compressed_tars_are_the_same_set() {
    let plain = open(&fixture("archives/tree.tar"), &rgb(4)).unwrap();
    let folder = tempdir().unwrap();
    for name in COMPRESSED {
        let path = fixture("archives").join(name);
        let set = open(&path, &rgb(4)).unwrap();
        assert_eq!((set.fingerprint(), set.len()), (plain.fingerprint(), 3), "{name}");
        assert_eq!(set.class_names(), plain.class_names());
        // Known by its content, too.
        let renamed = folder.path().join("renamed");
        fs::copy(&path, &renamed).unwrap();
        assert_eq!(open(&renamed, &rgb(4)).unwrap().len(), 3, "{name}");
    }
}

#[test]
fn damaged_compressed_tars_are_refused() {
    let folder = tempdir().unwrap();
    for name in COMPRESSED {
        let whole = fs::read(fixture("archives").join(name)).unwrap();
        let path = folder.path().join(name);
        let open = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            open_as("tar:", &path, Split::Train, &rgb(4))
        };
        assert!(open(&whole).is_ok());
        for length in [whole.len() - 1, whole.len() - 5, whole.len() / 2, 20] {
            problem(open(&whole[..length]));
        }
        // A flip may leave the content as it is: in gzip's time, or of where zeros are copied from.
        let right = open(&whole).unwrap().fingerprint().to_owned();
        let step = whole.len() / 60;
        for at in (0..whole.len()).step_by(step.max(1)) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            if let Ok(set) = open(&bytes) {
                assert_eq!(set.fingerprint(), right, "{name}: a flip at {at}");
            }
        }
    }
}

#[test]
fn small_streams_do_not_unpack_to_gigabytes() {
    // 64 MiB of zeros in 10 KiB or less.
    let path = fixture("archives/zeros.tar.xz");
    let (_, problem) = problem(open(&path, &rgb(4)));
    assert!(matches!(problem, FileProblem::TooLarge(_)), "{problem}");
}

/// A tar archive of one image with these pax records before it.
fn with_pax(records: &[u8], image: &[u8]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XHeader);
    header.set_size(records.len() as u64);
    archive.append_data(&mut header, "pax", records).unwrap();
    let mut header = tar::Header::new_ustar();
    header.set_size(image.len() as u64);
    archive.append_data(&mut header, "short.png", image).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn malformed_pax_records_are_refused() {
    let folder = tempdir().unwrap();
    plain(folder.path(), "image.png", 4, [9, 8, 7]);
    let image = fs::read(folder.path().join("image.png")).unwrap();
    let path = folder.path().join("set.tar");
    let open = |records: &[u8]| {
        fs::write(&path, with_pax(records, &image)).unwrap();
        open(&path, &rgb(4))
    };
    let (_, short) = problem(open(b"17 path=cat/a.png\n"));
    assert!(matches!(short, FileProblem::Damaged(_)), "{short}");
    let set = open(b"18 path=cat/a.png\n").unwrap();
    assert_eq!(set.image_name(0), "a.png");
    // A line break in a value is allowed, as in attributes of the file system.
    let set = open(b"25 SCHILY.xattr.user=a\nb\n18 path=cat/a.png\n").unwrap();
    assert_eq!(set.image_name(0), "a.png");
    for records in [
        &b"99 path=cat/a.png\n"[..],
        b"18 path:cat/a.png\n",
        b"x path=cat/a.png\n",
        b"18 path=cat/a.png\n7 a=b",
        b"12 size=1x2\n",
    ] {
        let (_, problem) = problem(open(records));
        assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
    }
    let (_, sparse) = problem(open(b"22 GNU.sparse.major=1\n18 path=cat/a.png\n"));
    assert!(matches!(sparse, FileProblem::Unsupported(_)), "{sparse}");
}

#[test]
#[cfg(target_os = "linux")]
fn lmdb_maps_the_file_and_no_more() {
    let folder = copied("lsun/church_train_lmdb");
    let set = open(folder.path(), &rgb(8)).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let file = folder.path().canonicalize().unwrap().join("data.mdb");
    let mapped: u64 = maps
        .lines()
        .filter(|line| line.ends_with(file.to_str().unwrap()))
        .map(|line| {
            let range = line.split(' ').next().unwrap().split_once('-').unwrap();
            let [from, to] =
                [range.0, range.1].map(|address| u64::from_str_radix(address, 16).unwrap());
            to - from
        })
        .sum();
    assert!((12_288..=1 << 20).contains(&mapped), "{mapped} bytes are mapped");
    assert_eq!(set.len(), 3);
}

#[test]
fn names_of_a_packed_file_are_checked() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    for k in 0..12 {
        plain(folder.path(), &format!("{k:02}.png"), 4, [k * 20, 7, 9]);
    }
    let path = place.path().join("set.dcgan");
    let spec = folder.path().to_str().unwrap();
    prepare(spec, Split::Train, &rgb(4), &path, false, &|_| ()).unwrap();
    let whole = fs::read(&path).unwrap();
    let find = |text: &[u8]| whole.windows(text.len()).position(|window| window == text).unwrap();
    // Offsets (13 numbers of 8 bytes), then names.
    let names = find(b"00.png01.png");
    for at in names - 13 * 8..names + 12 * 6 {
        for bit in [1, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            fs::write(&path, bytes).unwrap();
            let (_, problem) = problem(open_as("", &path, Split::Train, &rgb(4)));
            assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
        }
    }
}

#[test]
fn packed_files_without_a_checksum_of_names_are_read() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    plain(folder.path(), "0.png", 4, [20, 7, 9]);
    let path = place.path().join("set.dcgan");
    let spec = folder.path().to_str().unwrap();
    prepare(spec, Split::Train, &rgb(4), &path, false, &|_| ()).unwrap();
    let whole = fs::read(&path).unwrap();
    let (footer, start) = footer(&whole);
    let at = footer.find(",\"names_checksum\":").unwrap();
    let old = format!("{}}}", &footer[..at]);
    let tail = [
        old.as_bytes(),
        &(old.len() as u64).to_le_bytes(),
        &crc32c::crc32c(old.as_bytes()).to_le_bytes(),
        b"DCGANEND",
    ];
    fs::write(&path, [&whole[..start], &tail.concat()].concat()).unwrap();
    assert_eq!(open(&path, &rgb(4)).unwrap().image_name(0), "0.png");
}

/// The JSON at the end of a packed file, and where it starts.
fn footer(bytes: &[u8]) -> (String, usize) {
    let end = bytes.len() - 20;
    let length = u64::from_le_bytes(bytes[end..end + 8].try_into().unwrap()) as usize;
    (String::from_utf8(bytes[end - length..end].to_vec()).unwrap(), end - length)
}
