use crate::assert_error;
use runs::metrics::read;
use runs::{ArtifactError, MetricsRow, MetricsWriter};
use std::fs;
use std::io::Write;

fn row(step: u64) -> MetricsRow {
    let mut row = MetricsRow {
        step,
        d_loss: 1.0 / step as f64,
        g_loss: 0.1 + 0.2,
        d_real: 0.7,
        d_fake: 0.3,
        ..MetricsRow::default()
    };
    row.images_per_second = 1234.5;
    row.seconds = step as f64 * 0.1;
    row.extra.insert("penalty".to_owned(), serde_json::json!(0.25));
    row
}

fn steps(path: &std::path::Path) -> Vec<u64> {
    read(path).unwrap().iter().map(|row| row.step).collect()
}

#[test]
fn rows_roundtrip_as_flat_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let mut writer = MetricsWriter::resume(&path, 0).unwrap();
    for step in 1..=3 {
        writer.append(&row(step)).unwrap();
    }
    assert_eq!(read(&path).unwrap(), [row(1), row(2), row(3)], "visible before any sync");
    let text = fs::read_to_string(&path).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    for key in
        ["step", "d_loss", "g_loss", "d_real", "d_fake", "images_per_second", "seconds", "penalty"]
    {
        assert!(keys.contains(&key), "{key} is missing in {keys:?}");
    }
    assert_eq!(keys.len(), 8);
}

#[test]
fn nan_roundtrips_as_null() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let mut bad = row(1);
    bad.g_loss = f64::NAN;
    bad.d_loss = f64::INFINITY;
    MetricsWriter::resume(&path, 0).unwrap().append(&bad).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains(r#""g_loss":null"#));
    let back = &read(&path).unwrap()[0];
    assert!(back.g_loss.is_nan() && back.d_loss.is_nan() && back.d_real == 0.7);
}

#[test]
fn resume_truncates_later_and_partial_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let mut writer = MetricsWriter::resume(&path, 0).unwrap();
    for step in [10, 20, 30, 40] {
        writer.append(&row(step)).unwrap();
    }
    drop(writer);
    fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(br#"{"step":50,"d_lo"#)
        .unwrap();
    assert_eq!(steps(&path), [10, 20, 30, 40], "a torn last line is passed over");
    // The checkpoint was of step 25, between two rows.
    let mut writer = MetricsWriter::resume(&path, 25).unwrap();
    assert_eq!(steps(&path), [10, 20]);
    writer.append(&row(30)).unwrap();
    assert_eq!(steps(&path), [10, 20, 30]);
    drop(writer);
    MetricsWriter::resume(&path, 1000).unwrap();
    assert_eq!(steps(&path), [10, 20, 30], "nothing is lost");
    MetricsWriter::resume(&path, 0).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn kill_at_any_byte_loses_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let mut writer = MetricsWriter::resume(&path, 0).unwrap();
    (1..=4).for_each(|step| writer.append(&row(step)).unwrap());
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> =
        whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    for cut in ends[1]..=whole.len() {
        // Rows 1 and 2 are durable, their checkpoint was written; the file ends anywhere behind
        // them.
        fs::write(&path, &whole[..cut]).unwrap();
        let mut writer = MetricsWriter::resume(&path, 2).unwrap();
        (3..=4).for_each(|step| writer.append(&row(step)).unwrap());
        assert!(fs::read(&path).unwrap() == whole, "cut at {cut}");
    }
}

#[test]
fn missing_metrics_file_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    MetricsWriter::resume(&path, 5).unwrap().append(&row(6)).unwrap();
    assert_eq!(steps(&path), [6]);
}

#[test]
fn garbage_between_rows_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let line = |step| serde_json::to_string(&row(step)).unwrap();
    let text = format!("{}\n\u{0}\u{0}oops\n{}\n", line(1), line(2));
    fs::write(&path, &text).unwrap();
    let error = MetricsWriter::resume(&path, 9).unwrap_err();
    assert_error!(error, &path, ArtifactError::Metrics { line: 2, .. });
    assert_error!(read(&path).unwrap_err(), &path, ArtifactError::Metrics { line: 2, .. });
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing was cut");
    // Garbage after the rows to keep is cut off with the later rows.
    MetricsWriter::resume(&path, 1).unwrap();
    assert_eq!(steps(&path), [1]);
}

/// A file system may fill a file with zeros in a power cut.
#[test]
fn damage_that_is_no_torn_row_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("metrics.jsonl");
    let line = |step| serde_json::to_string(&row(step)).unwrap() + "\n";
    let rows = line(1) + &line(2);
    let cases = [
        (String::new(), "\0".repeat(500), 1),
        (rows.clone(), "\0".repeat(500), 3),
        (rows.clone(), "\0\n\0\n".to_owned(), 3),
        (rows.clone(), line(3)[..20].to_owned() + &"\0".repeat(9), 3),
        (rows.clone(), "<html>".to_owned(), 3),
    ];
    for (kept, damage, number) in cases {
        let text = kept.clone() + &damage;
        fs::write(&path, &text).unwrap();
        let error = read(&path).unwrap_err();
        assert_error!(error, &path, ArtifactError::Metrics { line, .. } if *line == number);
        let writer = MetricsWriter::resume(&path, 2).unwrap();
        let found = matches!(writer.damage(),
            Some(ArtifactError::Metrics { line, .. }) if *line == number);
        assert!(found, "{text:?}: {:?}", writer.damage());
        assert_eq!(fs::read_to_string(&path).unwrap(), kept);
    }
    // A torn row, and the rows of later steps, are not damage.
    for end in [line(3), line(3)[..20].to_owned(), line(3) + &line(4)[..1], String::new()] {
        fs::write(&path, rows.clone() + &end).unwrap();
        assert!(MetricsWriter::resume(&path, 2).unwrap().damage().is_none(), "{end:?}");
        assert_eq!(steps(&path), [1, 2]);
    }
}
