//! Packed files: the same dataset as the one they were packed from, whatever interrupted the
//! packing.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::common::{assert_refused, bytes, fixture, labels, open, open_as, plain, problem, write};
use data::{
    Cursor, DataError, DataSpec, FileProblem, Fit, Loader, PrepareSummary, Preprocess, Split,
    prepare,
};
use tempfile::tempdir;

fn small() -> Preprocess {
    Preprocess { fit: Fit::Stretch, ..Preprocess::new([3, 2], 3) }
}

/// Twenty images in two classes with attributes, and one bad image between them.
fn images(folder: &Path) {
    let mut table = "file,x,word\n".to_owned();
    for k in 0..21u8 {
        let name = format!("{}/{k:02}.png", if k < 5 { "a" } else { "b" });
        match k {
            7 => write(folder, &name, b"garbage"),
            _ => plain(folder, &name, 4, [k * 10, 255 - k, 7]),
        }
        table += &format!("{name},{},w{}\n", f32::from(k) / 2.0, k % 3);
    }
    write(folder, "attributes.csv", table.as_bytes());
}

fn packed(folder: &Path, out: &Path) -> Result<PrepareSummary, data::DataError> {
    prepare(folder.to_str().unwrap(), Split::Train, &small(), out, false, &|_| ())
}

#[test]
fn packed_file_equals_its_source() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    images(folder.path());
    let out = place.path().join("set.dcgan");
    let calls = std::cell::RefCell::new(Vec::new());
    let spec = folder.path().to_str().unwrap();
    let made = prepare(spec, Split::Train, &small(), &out, false, &|progress| {
        calls.borrow_mut().push(progress)
    })
    .unwrap();
    assert_eq!((made.images, made.resumed, made.skipped.len()), (20, 0, 1));
    assert!(
        made.skipped[0]
            .to_string()
            .starts_with("cannot decode \"b/07.png\": not in a known image format")
    );
    assert_eq!(
        (made.bytes, place.path().read_dir().unwrap().count()),
        (fs::metadata(&out).unwrap().len(), 1)
    );
    let last = *calls.borrow().last().unwrap();
    assert_eq!((last.done, last.total, last.skipped), (21, 21, 1));

    let set = open(folder.path(), &small()).unwrap();
    for kind in ["", "packed:"] {
        let packed = open_as(kind, &out, Split::Train, &small()).unwrap();
        assert_eq!(
            (packed.fingerprint(), packed.fingerprint()),
            (set.fingerprint(), made.fingerprint.as_str())
        );
        assert_eq!((labels(&packed), packed.class_names()), (labels(&set), set.class_names()));
        assert_eq!(packed.attribute_columns(), set.attribute_columns());
        for index in 0..20 {
            assert_eq!(bytes(&packed, index), bytes(&set, index));
            assert_eq!(packed.attributes(index), set.attributes(index));
            assert_eq!(packed.image_name(index), set.image_name(index));
        }
    }
    let shape = DataSpec::parse(out.to_str().unwrap()).unwrap().image_shape(Split::Train).unwrap();
    assert_eq!(shape, Some([3, 2, 3]));
    // Another shape is computed from the packed pixels, and is another dataset.
    let resized = open(&out, &Preprocess::new([6, 4], 1)).unwrap();
    assert_eq!((resized.shape(), bytes(&resized, 0).len()), ([6, 4, 1], 24));
    assert_ne!(resized.fingerprint(), set.fingerprint());
    assert_refused!(
        open_as("", &out, Split::Test, &small()),
        DataError::NoSplit { split: "test", .. }
    );
}

#[test]
fn training_resumes_with_either() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    images(folder.path());
    let out = place.path().join("set.dcgan");
    packed(folder.path(), &out).unwrap();
    let batches = |path: &Path, cursor, prefetch| {
        let mut loader =
            Loader::new(Arc::new(open(path, &small()).unwrap()), 6, cursor, prefetch).unwrap();
        (0..10).map(|_| loader.next().unwrap()).collect::<Vec<_>>()
    };
    let whole = batches(folder.path(), Cursor::new(3), 1);
    for prefetch in [1, 2, 5] {
        assert_eq!(batches(&out, Cursor::new(3), prefetch), whole);
        assert_eq!(batches(&out, whole[3].cursor, prefetch)[..6], whole[4..]);
    }
}

/// Cropping again after packing would give another image.
#[test]
fn what_was_done_is_not_done_again() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    let noise = |k: u32| {
        image::RgbImage::from_fn(20, 16, |x, y| {
            image::Rgb([(x * 13 + k) as u8, (y * 15) as u8, (x * y) as u8])
        })
    };
    (0..3).for_each(|k| noise(k * 50).save(folder.path().join(format!("{k}.png"))).unwrap());
    let plain = Preprocess::new([8, 8], 3);
    for (k, preprocess) in [
        Preprocess { crop: Some([6, 6]), ..plain.clone() },
        Preprocess { min_side: Some(12), ..plain.clone() },
        Preprocess { fit: Fit::Pad, flip: true, ..plain.clone() },
    ]
    .into_iter()
    .enumerate()
    {
        let out = place.path().join(k.to_string());
        prepare(folder.path().to_str().unwrap(), Split::Train, &preprocess, &out, false, &|_| ())
            .unwrap();
        let prepared = DataSpec::parse(out.to_str().unwrap()).unwrap().packed_preprocess().unwrap();
        assert_eq!(prepared, Some(Preprocess { flip: false, ..preprocess.clone() }));
        let set = open(folder.path(), &preprocess).unwrap();
        // Flips are not part of it; the same shape without options asks for the pixels unchanged.
        for same in [
            preprocess.clone(),
            Preprocess { flip: !preprocess.flip, ..preprocess.clone() },
            plain.clone(),
        ] {
            let packed = open(&out, &same).unwrap();
            assert_eq!(packed.fingerprint(), set.fingerprint());
            (0..3).for_each(|index| assert_eq!(bytes(&packed, index), bytes(&set, index)));
        }
        let cut = Preprocess { crop: Some([4, 4]), ..plain.clone() };
        let other = open(&out, &cut).unwrap();
        assert!(other.fingerprint() != set.fingerprint() && bytes(&other, 0) != bytes(&set, 0));
        // Packed once more, it is the same dataset, and another one if it is cropped again.
        let again = |preprocess: &Preprocess, name: &str| {
            let (from, to) = (out.to_str().unwrap().to_owned(), place.path().join(name));
            let made = prepare(&from, Split::Train, preprocess, &to, true, &|_| ()).unwrap();
            (made.fingerprint, bytes(&open(&to, preprocess).unwrap(), 1))
        };
        assert_eq!(again(&preprocess, "again"), (set.fingerprint().to_owned(), bytes(&set, 1)));
        assert_eq!(again(&cut, "cut"), (other.fingerprint().to_owned(), bytes(&other, 1)));
    }
}

#[test]
fn interrupted_anywhere_it_goes_on_to_the_same_bytes() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    images(folder.path());
    let out = place.path().join("set.dcgan");
    packed(folder.path(), &out).unwrap();
    let whole = fs::read(&out).unwrap();
    let record = 3 * 2 * 3 + 32 + 4 + 4 + 2 * 4 + 4;
    let part = place.path().join("set.dcgan.part");
    for length in
        (0..whole.len()).step_by(37).chain([64, 64 + 7 * record, 64 + 20 * record, whole.len()])
    {
        fs::remove_file(&out).unwrap();
        fs::write(&part, &whole[..length]).unwrap();
        let made = packed(folder.path(), &out).unwrap();
        assert!(fs::read(&out).unwrap() == whole && !part.exists(), "cut at {length}");
        assert_eq!(
            (made.resumed, made.skipped.len()),
            ((length.saturating_sub(64) / record).min(20), 1),
            "cut at {length}"
        );
    }
    // Zeros that a power cut left are overwritten, and so is everything after them.
    fs::remove_file(&out).unwrap();
    let mut zeros = whole.clone();
    zeros[64 + 3 * record..64 + 5 * record].fill(0);
    fs::write(&part, &zeros).unwrap();
    assert_eq!(packed(folder.path(), &out).unwrap().resumed, 3);
    assert!(fs::read(&out).unwrap() == whole);
    // An image that was bad then and is good now is inserted at its index.
    fs::remove_file(&out).unwrap();
    fs::write(&part, &whole[..64 + 15 * record]).unwrap();
    plain(folder.path(), "b/07.png", 4, [70, 248, 7]);
    let made = packed(folder.path(), &out).unwrap();
    assert_eq!((made.resumed, made.images, made.skipped.len()), (7, 21, 0));
    assert_eq!(
        open(&out, &small()).unwrap().fingerprint(),
        open(folder.path(), &small()).unwrap().fingerprint()
    );
}

#[test]
fn too_many_bad_images_leave_nothing_behind() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    images(folder.path());
    fs::remove_file(folder.path().join("attributes.csv")).unwrap();
    for k in 0..5 {
        fs::write(folder.path().join(format!("a/bad{k}.png")), "no image").unwrap();
    }
    let out = place.path().join("set.dcgan");
    assert!(matches!(packed(folder.path(), &out), Err(DataError::TooManyBad { .. })));
    assert_eq!(place.path().read_dir().unwrap().count(), 0);
}

#[test]
fn invalid_outputs_are_errors() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    images(folder.path());
    let out = place.path().join("set.dcgan");
    let part = place.path().join("set.dcgan.part");
    packed(folder.path(), &out).unwrap();
    let whole = fs::read(&out).unwrap();
    assert!(matches!(
        packed(folder.path(), &out),
        Err(DataError::Exists { path }) if path == out
    ));
    fs::remove_file(&out).unwrap();
    fs::write(&part, &whole).unwrap();
    let other = || {
        prepare(
            folder.path().to_str().unwrap(),
            Split::Train,
            &Preprocess::new([2, 2], 1),
            &out,
            false,
            &|_| (),
        )
    };
    let (path, problem_of_part) = problem(other());
    assert!(
        path == part && matches!(problem_of_part, FileProblem::Unfinished),
        "{problem_of_part}"
    );
    plain(folder.path(), "b/99.png", 4, [1; 3]);
    fs::remove_file(folder.path().join("attributes.csv")).unwrap();
    assert_eq!(problem(packed(folder.path(), &out)).1, FileProblem::Unfinished);
    assert!(fs::read(&part).unwrap() == whole, "it is still there");
    fs::remove_file(&part).unwrap();
    let held = fs::File::create(&part).unwrap();
    held.lock().unwrap();
    assert_eq!(problem(packed(folder.path(), &out)).1, FileProblem::Locked);
    drop(held);
    let nowhere = packed(folder.path(), &place.path().join("no/where"));
    assert_refused!(nowhere, DataError::Write { .. });
    (0..5).for_each(|k| write(folder.path(), &format!("b/x{k}.png"), b"garbage"));
    assert_refused!(packed(folder.path(), &out), DataError::TooManyBad { bad: 6, total: 27, .. });
    assert!(!out.exists());
}

#[test]
fn damaged_packed_files() {
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    images(folder.path());
    let out = place.path().join("set.dcgan");
    packed(folder.path(), &out).unwrap();
    let whole = fs::read(&out).unwrap();
    let refused = |content: &[u8]| {
        fs::write(&out, content).unwrap();
        let (path, problem) = problem(open_as("packed:", &out, Split::Train, &small()));
        assert_eq!(path, out);
        problem
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    // The last: a footer that is longer than the file.
    for content in [&whole[..50], &whole[..whole.len() - 1], &changed(whole.len() - 13, 0x7F)] {
        let problem = refused(content);
        assert!(matches!(problem, FileProblem::Truncated(_)), "{problem}");
    }
    // Another format, and another version.
    for content in [changed(0, 0), changed(7, b'2')] {
        let problem = refused(&content);
        assert!(matches!(problem, FileProblem::Unsupported(_)), "{problem}");
    }
    for at in [20, whole.len() - 40] {
        let problem = refused(&changed(at, !whole[at]));
        assert!(matches!(problem, FileProblem::Damaged(_)), "{problem}");
    }
    // One record in twenty: found when it is read, and replaced by the next one in a batch.
    fs::write(&out, changed(64 + 5, !whole[64 + 5])).unwrap();
    let set = Arc::new(open(&out, &small()).unwrap());
    let damaged = set.write(0, &mut [0.0; 18]);
    assert_refused!(damaged, DataError::Decode { path, .. } if path.ends_with("a/00.png"));
    let batch = Loader::new(Arc::clone(&set), 20, Cursor::new(0), 1).unwrap().next().unwrap();
    assert_eq!(
        (batch.indices.iter().filter(|&&index| index == 1).count(), set.failed()),
        (2, vec![0])
    );
}

#[test]
fn sets_without_labels_or_attributes_are_packed_too() {
    let place = tempdir().unwrap();
    for (name, side) in
        [("lsun/church_train_lmdb", 8), ("cifar100", 32), ("stl10/unlabeled_X.bin", 96)]
    {
        let out = place.path().join(side.to_string());
        let preprocess = Preprocess::new([side, side], 3);
        let spec = fixture(name).display().to_string();
        prepare(&spec, Split::Train, &preprocess, &out, false, &|_| ()).unwrap();
        let (set, packed) =
            (open(&fixture(name), &preprocess).unwrap(), open(&out, &preprocess).unwrap());
        assert_eq!((packed.fingerprint(), packed.len()), (set.fingerprint(), set.len()), "{name}");
        for index in 0..set.len() {
            assert_eq!(
                (packed.label(index), bytes(&packed, index)),
                (set.label(index), bytes(&set, index))
            );
        }
    }
}

/// The footer of a packed file, as text, and its offset.
fn footer(bytes: &[u8]) -> (String, usize) {
    let tail = bytes.len() - 20;
    let length = u64::from_le_bytes(bytes[tail..tail + 8].try_into().unwrap()) as usize;
    (String::from_utf8(bytes[tail - length..tail].to_vec()).unwrap(), tail - length)
}

/// Three million images of 64×64: opened within 50 MiB, and none of them read.
#[cfg(target_os = "linux")]
#[test]
fn large_files_open_in_little_memory() {
    use std::io::{Seek, SeekFrom, Write};
    const IMAGES: u64 = 3_000_000;
    let [folder, place] = [(); 2].map(|()| tempdir().unwrap());
    plain(folder.path(), "0.png", 64, [1, 2, 3]);
    let preprocess = Preprocess::new([64, 64], 3);
    let out = place.path().join("set.dcgan");
    prepare(folder.path().to_str().unwrap(), Split::Train, &preprocess, &out, false, &|_| ())
        .unwrap();
    // The same file with many more images, all but the first of them holes.
    let small = fs::read(&out).unwrap();
    let (text, end) = footer(&small);
    let record = 64 * 64 * 3 + 44;
    let checksum = |names: &[u8]| format!("\"names_checksum\":{}", crc32c::crc32c(names));
    let text = text
        .replace("\"images\":1,", &format!("\"images\":{IMAGES},"))
        .replace("\"name_bytes\":5", "\"name_bytes\":0")
        .replace(
            &checksum(&small[64 + record..end]),
            &checksum(&vec![0; 8 * (IMAGES as usize + 1)]),
        );
    let mut file = fs::File::create(&out).unwrap();
    file.write_all(&small[..64 + record]).unwrap();
    file.seek(SeekFrom::Start(64 + IMAGES * record as u64 + 8 * (IMAGES + 1))).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&crc32c::crc32c(text.as_bytes()).to_le_bytes()).unwrap();
    file.write_all(b"DCGANEND").unwrap();
    drop(file);

    let resident = || -> usize {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
    };
    let before = resident();
    let set = open(&out, &preprocess).unwrap();
    let after = resident();
    println!("{after} MiB resident, {before} MiB before opening");
    assert!(after - before.min(after) < 50, "{before} MiB before, {after} MiB after");
    assert_eq!((set.len() as u64, bytes(&set, 0)[..3].to_vec()), (IMAGES, vec![1, 2, 3]));
    assert!(set.write(IMAGES as usize - 1, &mut vec![0.0; 64 * 64 * 3]).is_err());
}
