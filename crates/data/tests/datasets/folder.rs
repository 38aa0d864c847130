//! Folders of images, good and bad.

use std::cell::RefCell;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use crate::common::{assert_refused, bytes, open, plain, write};
use data::{DataError, Dataset, Fit, Preprocess, Split};
use image::{ImageFormat, Rgb, RgbImage};
use tempfile::tempdir;

fn rgb(side: u32) -> Preprocess {
    Preprocess::new([side, side], 3)
}

/// An image with texture, so that its file has a middle to cut at.
fn textured(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y) as u8]))
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Nineteen good images, so that one more may be bad.
fn nineteen(folder: &Path) {
    (0..19).for_each(|k| plain(folder, &format!("good/{k:02}.png"), 4, [k, 0, 0]));
}

#[test]
fn every_format_decodes() {
    let folder = tempdir().unwrap();
    let formats = ["png", "jpg", "gif", "bmp", "webp", "tiff", "ppm", "tga", "qoi"];
    formats
        .iter()
        .for_each(|format| plain(folder.path(), &format!("x.{format}"), 8, [200, 100, 50]));
    let set = open(folder.path(), &rgb(8)).unwrap();
    assert_eq!((set.len(), set.skipped()), (formats.len(), &[][..]));
    for index in 0..set.len() {
        let name = set.image_name(index);
        for (value, wanted) in bytes(&set, index).iter().zip([200, 100, 50].iter().cycle()) {
            let off = if name.ends_with("jpg") { 3 } else { 0 };
            assert!(value.abs_diff(*wanted) <= off, "{name}: {value} for {wanted}");
        }
    }
}

#[test]
fn content_counts_not_the_extension() {
    let folder = tempdir().unwrap();
    let image = textured(4);
    write(folder.path(), "a.png", &encoded(&image, ImageFormat::Bmp));
    write(folder.path(), "b", &encoded(&image, ImageFormat::Png));
    write(folder.path(), "notes.txt", b"not an image");
    write(folder.path(), ".hidden.png", b"not an image");
    for hidden in ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"]
    {
        write(folder.path(), &format!("{hidden}/a.png"), b"not an image");
    }
    let set = open(folder.path(), &rgb(4)).unwrap();
    assert_eq!((set.len(), set.skipped()), (2, &[][..]));
    assert_eq!(bytes(&set, 0), image.as_raw().as_slice());
    assert_eq!(bytes(&set, 1), bytes(&set, 0));
}

#[test]
fn sub_folders_are_labels_and_order_is_bytewise() {
    let folder = tempdir().unwrap();
    for name in ["b/2.png", "a/x/1.png", "Z/1.png", "a/B.png", "a/a.png", "b/10.png"] {
        plain(folder.path(), name, 2, [1, 2, 3]);
    }
    let set = open(folder.path(), &rgb(2)).unwrap();
    let names: Vec<_> = (0..6).map(|index| set.image_name(index).replace('\\', "/")).collect();
    assert_eq!(names, ["Z/1.png", "a/B.png", "a/a.png", "a/x/1.png", "b/10.png", "b/2.png"]);
    assert_eq!(set.class_names(), ["Z", "a", "b"]);
    assert_eq!(
        (0..6).map(|index| set.label(index).unwrap()).collect::<Vec<_>>(),
        [0, 1, 1, 1, 2, 2]
    );
    // With an image outside of them, they are not classes.
    plain(folder.path(), "top.png", 2, [1, 2, 3]);
    let set = open(folder.path(), &rgb(2)).unwrap();
    assert_eq!((set.label(0), set.class_names().len()), (None, 0));
}

#[test]
fn train_beside_test_are_splits() {
    let folder = tempdir().unwrap();
    plain(folder.path(), "train/cat/1.png", 2, [1; 3]);
    let of = |split| Dataset::open(folder.path().to_str().unwrap(), split, &rgb(2), &|_| ());
    assert_refused!(of(Split::Test), DataError::NoSplit { split: "test", .. });
    plain(folder.path(), "val/cat/1.png", 2, [2; 3]);
    plain(folder.path(), "val/cat/2.png", 2, [2; 3]);
    let (train, test) = (of(Split::Train).unwrap(), of(Split::Test).unwrap());
    // A folder that holds all images is not a class.
    assert_eq!((train.len(), test.len(), train.class_names().len()), (1, 2, 0));
    plain(folder.path(), "val/dog/1.png", 2, [3; 3]);
    let (train, test) = (of(Split::Train).unwrap(), of(Split::Test).unwrap());
    assert_eq!(train.class_names(), ["cat"]);
    assert_eq!(test.class_names(), ["cat", "dog"]);
}

#[test]
fn a_tenth_may_be_bad_and_no_more() {
    let folder = tempdir().unwrap();
    nineteen(folder.path());
    write(folder.path(), "bad/a.png", b"garbage");
    let calls = RefCell::new(Vec::new());
    let note = |progress| calls.borrow_mut().push(progress);
    let set = Dataset::open(folder.path().to_str().unwrap(), Split::Train, &rgb(4), &note).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (19, 1));
    let report = set.skipped()[0].to_string();
    assert!(
        report.starts_with("cannot decode \"bad/a.png\": not in a known image format"),
        "{report}"
    );
    assert!(report.ends_with("(skipped; 1 of 20)"), "{report}");
    let last = *calls.borrow().last().unwrap();
    assert_eq!((last.done, last.total, last.skipped), (20, 20, 1));
    // The good ones closed the gap, each with its own name, class and pixels.
    assert_eq!(
        (set.image_name(0).replace('\\', "/"), set.label(0)),
        ("good/00.png".to_owned(), Some(1))
    );
    for index in 0..19 {
        assert_eq!(bytes(&set, index)[..3], [index as u8, 0, 0]);
    }

    write(folder.path(), "bad/b.png", b"");
    assert_eq!(
        open(folder.path(), &rgb(4)).unwrap().skipped().len(),
        2,
        "2 of 21 are within a tenth"
    );
    write(folder.path(), "bad/c.png", b"garbage");
    let refused = open(folder.path(), &rgb(4));
    assert_refused!(
        refused,
        DataError::TooManyBad { bad: 3, total: 22, first, .. } if first.starts_with("\"bad/a.png\"")
    );
}

#[test]
fn truncated_files_are_bad_in_every_format() {
    let image = textured(64);
    for (name, format) in [
        ("x.png", ImageFormat::Png),
        ("x.jpg", ImageFormat::Jpeg),
        ("x.gif", ImageFormat::Gif),
        ("x.bmp", ImageFormat::Bmp),
        ("x.webp", ImageFormat::WebP),
        ("x.tiff", ImageFormat::Tiff),
        ("x.ppm", ImageFormat::Pnm),
        ("x.tga", ImageFormat::Tga),
        ("x.qoi", ImageFormat::Qoi),
    ] {
        let whole = encoded(&image, format);
        for share in [1, 3, 5, 9] {
            let folder = tempdir().unwrap();
            nineteen(folder.path());
            write(folder.path(), name, &whole[..whole.len() * share / 10]);
            let set = open(folder.path(), &rgb(4)).unwrap();
            assert_eq!(set.skipped().len(), 1, "{name} cut at {share}/10");
        }
    }
}

/// A PNG whose header claims a size and whose data are a few bytes.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut png = encoded(&textured(1), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    png
}

#[test]
fn bombs_are_not_decoded() {
    for (width, height, wanted) in [
        (60_000, 60_000, "60000×60000 pixels; at most 16384 a side"),
        (1, 20_000, "1×20000 pixels; at most 16384 a side"),
        (16_000, 16_000, "16000×16000 pixels would take more than 256 MiB"),
    ] {
        let folder = tempdir().unwrap();
        nineteen(folder.path());
        write(folder.path(), "bomb.png", &bomb(width, height));
        let reason = open(folder.path(), &rgb(4)).unwrap().skipped()[0].reason.clone();
        assert!(reason.contains(wanted), "{width}×{height}: {reason}");
    }
}

#[test]
fn nothing_there_is_an_error() {
    let folder = tempdir().unwrap();
    assert_refused!(open(folder.path(), &rgb(4)), DataError::NoImages { files: 0, .. });
    write(folder.path(), "readme.txt", b"hello");
    assert_refused!(open(folder.path(), &rgb(4)), DataError::NoImages { files: 1, .. });
    write(folder.path(), "x.png", b"garbage");
    assert_refused!(open(folder.path(), &rgb(4)), DataError::TooManyBad { bad: 1, total: 1, .. });
}

#[test]
fn exif_orientation_is_applied() {
    // Red on the left and blue on the right, to be rotated by 90° clockwise (6): red on top.
    let image =
        RgbImage::from_fn(16, 16, |x, _| if x < 8 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 255]) });
    let jpeg = encoded(&image, ImageFormat::Jpeg);
    let tiff = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (tiff.len() as u16 + 2).to_be_bytes();
    let turned = [&jpeg[..2], &[0xFF, 0xE1], &length, tiff, &jpeg[2..]].concat();
    let folder = tempdir().unwrap();
    write(folder.path(), "a.jpg", &turned);
    let image = bytes(&open(folder.path(), &rgb(16)).unwrap(), 0);
    let (top_right, bottom_left) = (&image[15 * 3..][..3], &image[15 * 16 * 3..][..3]);
    assert!(top_right[0] > 200 && bottom_left[2] > 200, "{top_right:?} {bottom_left:?}");
}

#[test]
fn sixteen_bits_and_alpha_come_down_to_bytes() {
    let folder = tempdir().unwrap();
    let deep = image::ImageBuffer::from_pixel(2, 2, image::Luma([0x8080u16]));
    deep.save(folder.path().join("a.png")).unwrap();
    let clear = image::RgbaImage::from_pixel(2, 2, image::Rgba([255, 0, 0, 0]));
    clear.save(folder.path().join("b.png")).unwrap();
    let preprocess = Preprocess { background: [10, 20, 30], ..rgb(2) };
    let set = open(folder.path(), &preprocess).unwrap();
    assert_eq!(bytes(&set, 0), [0x80; 12]);
    assert_eq!(bytes(&set, 1), [10, 20, 30].repeat(4));
}

#[test]
fn uncached_sets_hold_the_same_images() {
    let folder = tempdir().unwrap();
    for k in 0..12 {
        write(folder.path(), &format!("{k:02}.png"), &encoded(&textured(20 + k), ImageFormat::Png));
    }
    let preprocess = Preprocess { fit: Fit::Stretch, ..rgb(8) };
    let spec = folder.path().to_str().unwrap();
    let cached = Dataset::open(spec, Split::Train, &preprocess, &|_| ()).unwrap();
    let lazy =
        Dataset::open_within(spec, Split::Train, &preprocess, 12 * 192 - 1, &|_| ()).unwrap();
    assert!(cached.is_cached() && !lazy.is_cached());
    assert_eq!(cached.fingerprint(), lazy.fingerprint());
    for index in 0..12 {
        assert_eq!(bytes(&cached, index), bytes(&lazy, index));
    }
    fs::write(folder.path().join("03.png"), b"gone").unwrap();
    let gone = lazy.write(3, &mut [0.0; 192]);
    assert_refused!(gone, DataError::Decode { path, .. } if path.ends_with("03.png"));
}

#[test]
fn fingerprints_go_by_content_and_order_not_by_place() {
    let [one, two] = [(); 2].map(|()| tempdir().unwrap());
    for folder in [one.path(), two.path()] {
        nineteen(folder);
    }
    let print =
        |folder: &Path, preprocess| open(folder, &preprocess).unwrap().fingerprint().to_owned();
    let before = print(one.path(), rgb(4));
    assert_eq!(before, print(two.path(), rgb(4)));
    assert_ne!(before, print(one.path(), rgb(5)));
    plain(two.path(), "good/05.png", 4, [5, 0, 1]);
    assert_ne!(before, print(two.path(), rgb(4)));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_dead_ones_are_bad_images() {
    use std::os::unix::fs::symlink;
    let folder = tempdir().unwrap();
    nineteen(folder.path());
    symlink(folder.path().join("good/03.png"), folder.path().join("good/z.png")).unwrap();
    symlink("nowhere", folder.path().join("good/dead.png")).unwrap();
    let set = open(folder.path(), &rgb(4)).unwrap();
    assert_eq!((set.len(), set.skipped().len()), (20, 1));
    assert!(set.skipped()[0].name.ends_with("dead.png"));
    symlink(folder.path(), folder.path().join("good/loop")).unwrap();
    assert_refused!(
        open(folder.path(), &rgb(4)),
        DataError::Malformed { format: "link", path, .. } if path.ends_with("good/loop")
    );
}

#[test]
fn preprocessing_is_written_in_lower_case() {
    let preprocess = Preprocess { fit: Fit::Pad, ..rgb(4) };
    let text = serde_json::to_string(&preprocess).unwrap();
    assert_eq!(
        text,
        r#"{"size":[4,4],"channels":3,"fit":"pad","background":[0,0,0],"filter":"lanczos3","flip":false}"#
    );
    assert_eq!(serde_json::from_str::<Preprocess>(&text).unwrap(), preprocess);
    let short = serde_json::from_str::<Preprocess>(r#"{"size":[4,4],"channels":3}"#).unwrap();
    assert_eq!(short, rgb(4));
    assert!(
        serde_json::from_str::<Preprocess>(r#"{"size":[4,4],"channels":3,"sharpen":1}"#).is_err()
    );
}
