//! A studio as its clients see it.

#[path = "common/client.rs"]
mod client;

use client::{Events, Fixture, PATIENCE, PNG, get, own, raw, send, start};
use runs::{MetricsWriter, RunDir};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};
use studio::{Controls, Model, Source, Studio, StudioConfig};

#[test]
fn the_page_is_served_with_a_tag() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    for (target, kind) in [
        ("/", "text/html"),
        ("/assets/app.js", "text/javascript"),
        ("/assets/studio.css", "text/css"),
        ("/assets/theme.css", "text/css"),
    ] {
        let answer = get(&studio, target);
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").unwrap().starts_with(kind));
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'self'"));
        let tag = answer.header("etag").unwrap();
        let again = send(&studio, "GET", target, &format!("If-None-Match: {tag}\r\n"), b"");
        assert_eq!((again.status, again.body.len()), (304, 0));
    }
    assert_eq!(get(&studio, "/assets/other.js").refused(), 404);
    assert_eq!(get(&studio, "/other").refused(), 404);
    assert_eq!(send(&studio, "POST", "/api/runs", &own(&studio), b"").refused(), 405);
    let info = get(&studio, "/api/info").json();
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&info["read_only"], &info["model"]), (&false.into(), &().into()));
}

/// A module that is not compiled in would leave the page empty.
#[test]
fn every_module_that_the_page_imports_is_served() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let mut modules = vec!["app.js".to_owned()];
    let mut next = 0;
    while next < modules.len() {
        let answer = get(&studio, &format!("/assets/{}", modules[next]));
        assert_eq!(answer.status, 200, "{}", modules[next]);
        for part in answer.text().split("from \"./").skip(1) {
            let (module, _) = part.split_once('"').unwrap();
            if !modules.iter().any(|known| known == module) {
                modules.push(module.to_owned());
            }
        }
        next += 1;
    }
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let mut written: Vec<_> = fs::read_dir(assets)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".js"))
        .collect();
    modules.sort();
    written.sort();
    assert_eq!(modules, written);
}

#[test]
fn runs_are_listed_and_shown() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let runs = get(&studio, "/api/runs").json();
    assert_eq!(runs.as_array().unwrap().len(), 1);
    let run = &runs[0];
    assert_eq!((&run["name"], &run["step"]), (&"0001-first".into(), &20.into()));
    assert_eq!((&run["alerts"], &run["note"]), (&0.into(), &"".into()));
    assert_eq!((&run["path"], &run["metrics"]), (&().into(), &serde_json::json!({})));
    let image = get(&studio, run["thumbnail"].as_str().unwrap());
    assert_eq!((image.status, &*image.body), (200, PNG));
    assert!(image.header("cache-control").unwrap().contains("immutable"));
    // An address without the version may show another image later.
    let image = get(&studio, "/runs/0001-first/samples/20.png");
    assert_eq!((image.status, image.header("cache-control")), (200, Some("no-cache")));

    let details = get(&studio, "/api/runs/0001-first").json();
    assert_eq!(details["summary"]["name"], "0001-first");
    assert_eq!((&details["config"], &details["controls"]), (&"seed = 7\n".into(), &false.into()));
    assert_eq!((&details["samples"], &details["alerts"]), (&[20].into(), &serde_json::json!([])));
    for missing in ["/api/runs/0002-x", "/runs/0001-first/samples/21.png", "/explore"] {
        assert_eq!(get(&studio, missing).refused(), 404, "{missing}");
    }
    assert_eq!(get(&studio, "/runs/0001-first/explore").refused(), 404);

    // A folder without runs has an empty list, also before it exists.
    let none = fixture.folder.path().join("none");
    let empty = start(StudioConfig::new(Source::Folder(none)));
    assert_eq!(get(&empty, "/api/runs").json(), serde_json::json!([]));
    // One run directory alone.
    RunDir::create(fixture.folder.path(), "second").unwrap();
    let one = start(StudioConfig::new(Source::Run(fixture.run.clone())));
    assert_eq!(get(&one, "/api/runs").json().as_array().unwrap().len(), 1);
    assert_eq!(get(&one, "/api/runs/0001-first").status, 200);
    assert_eq!(get(&one, "/api/runs/0002-second").refused(), 404);
}

#[test]
fn rows_with_alerts_and_evaluations_are_summed_up() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    assert_eq!(get(&studio, "/api/runs").json()[0]["alerts"], 0);
    let path = fixture.run.join("metrics.jsonl");
    let mut file = fs::File::options().append(true).open(path).unwrap();
    let row = |step: u64, rest: &str| {
        format!(
            "{{\"step\":{step},\"d_loss\":null,\"g_loss\":1,\"d_real\":1,\"d_fake\":0,\
             \"images_per_second\":9,\"seconds\":1{rest}}}\n"
        )
    };
    let rows = row(30, ",\"alerts\":[\"mode-collapse\"],\"eval/frechet\":12.25,\"eval/by\":\"x\"")
        + &row(40, ",\"alerts\":[\"mode-collapse\"]");
    file.write_all(rows.as_bytes()).unwrap();
    let run = get(&studio, "/api/runs").json()[0].clone();
    assert_eq!((&run["alerts"], &run["metrics"]["frechet"]), (&1.into(), &12.25.into()));
    assert_eq!(run["metrics"].as_object().unwrap().len(), 1);
    let alerts = get(&studio, "/api/runs/0001-first").json()["alerts"].clone();
    assert_eq!((&alerts[0]["step"], &alerts[0]["kind"]), (&30.into(), &"mode-collapse".into()));
}

#[test]
fn metrics_are_read_from_a_byte_on() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let path = fixture.run.join("metrics.jsonl");
    let target = |from: &str| format!("/api/runs/0001-first/metrics?from={from}");
    let all = get(&studio, "/api/runs/0001-first/metrics");
    assert_eq!(all.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(all.body, fs::read(&path).unwrap());
    let next = all.header("x-next").unwrap().to_owned();
    assert_eq!(next, all.body.len().to_string());
    assert!(get(&studio, &target(&next)).body.is_empty());

    // A row that is being written is not there yet.
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(b"{\"step\":30").unwrap();
    let partial = get(&studio, &target(&next));
    assert_eq!((&*partial.body, partial.header("x-next")), (&b""[..], Some(&*next)));
    file.write_all(b"}\n").unwrap();
    let grown = get(&studio, &target(&next));
    assert_eq!((grown.text(), grown.header("x-from")), ("{\"step\":30}\n", Some(&*next)));

    // The run was resumed from an earlier step: all rows again.
    let beyond = get(&studio, &target("99999"));
    assert_eq!(
        (beyond.body.clone(), beyond.header("x-from")),
        (fs::read(&path).unwrap(), Some("0"))
    );
    for bad in ["-1", "x", "18446744073709551616", "1e3"] {
        assert_eq!(get(&studio, &target(bad)).refused(), 400, "{bad}");
    }
}

#[test]
fn events_deliver_what_is_new() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let next = fs::metadata(fixture.run.join("metrics.jsonl")).unwrap().len();
    let mut events = Events::open(&studio, "/api/runs/0001-first/events");
    events.wait_for("content-type: text/event-stream");
    events.wait_for(&format!("event: metrics\nid: {next}\ndata: [{{\"step\":10,"));
    events.wait_for("event: samples\ndata: [20]\n\n");
    events.wait_for("event: checkpoints\ndata: []\n\n");
    events.wait_for("event: state\ndata: {");
    fixture.append([30]);
    events.wait_for("event: metrics\n");
    events.wait_for("data: [{\"step\":30,");
    events.wait_for("event: state\ndata: {");
    fixture.sample(30);
    events.wait_for("event: samples\ndata: [20,30]\n\n");
    fs::write(fixture.run.join("checkpoints/step-00000030.safetensors"), "12345").unwrap();
    events.wait_for("event: checkpoints\ndata: [{\"step\":30,\"bytes\":5}]\n\n");

    // A client that connects again gets what it lacks.
    let mut again = Events::open(&studio, &format!("/api/runs/0001-first/events?from={next}"));
    again.wait_for("data: [{\"step\":30,");

    // The run is resumed from an earlier step, and computes step 20 again.
    MetricsWriter::resume(&fixture.run.join("metrics.jsonl"), 10).unwrap();
    events.wait_for("event: reset\n");
    events.wait_for("data: [{\"step\":10,");
    fixture.append([21]);
    events.wait_for("data: [{\"step\":21,");

    fs::remove_dir_all(&fixture.run).unwrap();
    let start = Instant::now();
    let mut rest = [0; 4096];
    while !matches!(events.stream.read(&mut rest), Ok(0)) {
        assert!(start.elapsed() < PATIENCE, "the stream of a run that is gone does not end");
    }
}

#[test]
fn nothing_but_the_runs_is_reachable() {
    let fixture = Fixture::new();
    let secret = fixture.folder.path().join("secret");
    for folder in ["checkpoints", "samples"] {
        fs::create_dir_all(secret.join("run").join(folder)).unwrap();
    }
    fs::write(secret.join("run/config.toml"), "password").unwrap();
    let runs = fixture.folder.path().join("runs");
    fs::create_dir(&runs).unwrap();
    let own = runs.join("0001-own");
    fs::rename(&fixture.run, &own).unwrap();
    let studio = start(StudioConfig::new(Source::Folder(runs.clone())));
    assert_eq!(get(&studio, "/api/runs/0001-own").status, 200);
    let absolute = secret.join("run").to_str().unwrap().replace('/', "%2F");
    let names = [
        "..",
        "%2e%2e",
        "%2E%2E",
        ".",
        "%2e",
        "..%2fsecret%2frun",
        "%2e%2e%2fsecret%2frun",
        "..%5csecret%5crun",
        "%00",
        "0001-own%00",
        "0001-own%2f",
        "0001-own%2f.",
        "%ff",
        "~",
        "%252e%252e",
        "0001-own%2fsamples",
        &absolute,
    ];
    for name in names {
        for target in [
            format!("/api/runs/{name}"),
            format!("/api/runs/{name}/metrics"),
            format!("/api/runs/{name}/events"),
            format!("/runs/{name}/explore"),
            format!("/runs/{name}/samples/20.png"),
        ] {
            assert_eq!(get(&studio, &target).refused(), 404, "{target}");
        }
    }
    let absolute = secret.join("run");
    let targets = [
        "/runs/../secret/run/samples/20.png",
        "/runs/0001-own/samples/../../config.toml",
        "/runs/0001-own/samples/..%2f..%2fconfig.toml",
        "/runs/0001-own/samples/%2e%2e.png",
        "/runs/0001-own/samples/-20.png",
        "/runs/0001-own/config.toml",
        "/assets/../../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "//etc/passwd",
        absolute.to_str().unwrap(),
    ];
    for target in targets {
        assert_eq!(get(&studio, target).refused(), 404, "{target}");
    }
}

#[cfg(unix)]
#[test]
fn no_link_is_followed() {
    use std::os::unix::fs::symlink;
    let fixture = Fixture::new();
    let outside = tempfile::tempdir().unwrap();
    fs::create_dir(outside.path().join("checkpoints")).unwrap();
    fs::write(outside.path().join("secret"), "secret\n").unwrap();
    let studio = fixture.start();
    symlink(outside.path(), fixture.folder.path().join("0002-link")).unwrap();
    assert_eq!(get(&studio, "/api/runs/0002-link").refused(), 404);
    assert_eq!(get(&studio, "/api/runs").json().as_array().unwrap().len(), 1);

    let secret = outside.path().join("secret");
    for file in ["config.toml", "metrics.jsonl", "note.txt", "samples/step-00000030.png"] {
        let _ = fs::remove_file(fixture.run.join(file));
        symlink(&secret, fixture.run.join(file)).unwrap();
    }
    symlink(&secret, fixture.run.join("checkpoints/step-00000030.safetensors")).unwrap();
    let details = get(&studio, "/api/runs/0001-first");
    assert_eq!(details.json()["config"], "");
    assert_eq!(details.json()["checkpoints"], serde_json::json!([]));
    assert!(!details.text().contains("secret"));
    assert_eq!(get(&studio, "/runs/0001-first/samples/30.png").refused(), 404);
    assert!(!get(&studio, "/api/runs/0001-first/metrics").text().contains("secret\n"));
    assert_eq!(get(&studio, "/runs/0001-first/explore").refused(), 404);
    // Writing a note replaces the link.
    let put = send(&studio, "PUT", "/api/runs/0001-first/note", &own(&studio), b"mine");
    assert_eq!(put.status, 204);
    assert_eq!(fs::read_to_string(secret).unwrap(), "secret\n");

    fs::remove_dir_all(fixture.run.join("samples")).unwrap();
    fs::write(outside.path().join("step-00000020.png"), PNG).unwrap();
    symlink(outside.path(), fixture.run.join("samples")).unwrap();
    assert_eq!(get(&studio, "/runs/0001-first/samples/20.png").refused(), 404);
}

#[test]
fn other_hosts_and_origins_are_refused() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let port = studio.address().port();
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        assert_eq!(send(&studio, "GET", "/", &format!("Host: {host}\r\n"), b"").status, 200);
    }
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost:1", "localhost"] {
        let answer = send(&studio, "GET", "/api/runs", &format!("Host: {host}\r\n"), b"");
        assert_eq!(answer.refused(), 403, "{host}");
    }
    let request = format!("GET http://127.0.0.1:{port}/api/runs HTTP/1.1\r\nConnection: close\r\n");
    let request = request + &format!("Host: 127.0.0.1:{port}\r\n\r\n");
    assert_eq!(raw(studio.address(), request.as_bytes()).refused(), 400);
    let none = b"GET /api/runs HTTP/1.0\r\n\r\n";
    assert_eq!(raw(studio.address(), none).refused(), 403);

    let note = "/api/runs/0001-first/note";
    for headers in [
        "",
        "Origin: null\r\n",
        "Origin: http://evil.example\r\n",
        &format!("Origin: https://{}\r\n", studio.address()),
        &format!("Origin: http://localhost:{port}\r\n"),
        "Origin: http://127.0.0.1\r\n",
    ] {
        assert_eq!(send(&studio, "PUT", note, headers, b"x").refused(), 403, "{headers}");
        let stop = send(&studio, "POST", "/api/runs/0001-first/stop", headers, b"");
        assert_eq!(stop.refused(), 403, "{headers}");
    }
    assert!(!fixture.run.join("note.txt").exists());
    let foreign = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n";
    assert_eq!(send(&studio, "GET", "/runs/0001-first/explore", foreign, b"").refused(), 403);
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(send(&studio, "GET", "/", link, b"").status, 200);
}

#[test]
fn a_note_is_kept_in_the_run() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let note = "/api/runs/0001-first/note";
    let put = |body: &[u8]| send(&studio, "PUT", note, &own(&studio), body);
    assert_eq!(put("größer ist besser\n".as_bytes()).status, 204);
    assert_eq!(fs::read_to_string(fixture.run.join("note.txt")).unwrap(), "größer ist besser\n");
    assert_eq!(get(&studio, "/api/runs").json()[0]["note"], "größer ist besser\n");
    assert_eq!(put(&[0xff]).refused(), 400);
    assert_eq!(put(&vec![b'x'; 64 << 10]).status, 204);
    assert_eq!(get(&studio, "/api/runs").json()[0]["note"].as_str().unwrap().len(), 64 << 10);
    assert_eq!(put(&vec![b'y'; (64 << 10) + 1]).status, 413);
    // Chunks have no length that could be refused beforehand.
    let chunk = format!("10001\r\n{}\r\n0\r\n\r\n", "y".repeat(0x10001));
    let head = format!(
        "PUT {note} HTTP/1.1\r\nHost: {}\r\n{}Connection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        studio.address(),
        own(&studio)
    );
    assert_eq!(raw(studio.address(), (head + &chunk).as_bytes()).status, 413);
    assert_eq!(get(&studio, "/api/runs").json()[0]["note"].as_str().unwrap().len(), 64 << 10);
    assert_eq!(put(b"").status, 204);
    assert_eq!(get(&studio, "/api/runs").json()[0]["note"], "");
}

#[test]
fn read_only_changes_nothing() {
    let fixture = Fixture::new();
    let mut config = fixture.config();
    config.read_only = true;
    config.controls = Some(Controls {
        run: "0001-first".into(),
        save: Arc::new(|| panic!("saved")),
        stop: Arc::new(|| panic!("stopped")),
    });
    let studio = start(config);
    assert_eq!(get(&studio, "/api/info").json()["read_only"], true);
    for (method, target) in [
        ("PUT", "/api/runs/0001-first/note"),
        ("POST", "/api/runs/0001-first/save"),
        ("POST", "/api/runs/0001-first/stop"),
        ("DELETE", "/api/runs/0001-first"),
    ] {
        assert_eq!(send(&studio, method, target, &own(&studio), b"x").refused(), 403, "{target}");
    }
    assert!(!fixture.run.join("note.txt").exists());
}

#[test]
fn a_token_opens_the_studio() {
    let fixture = Fixture::new();
    let mut config = fixture.config();
    config.needs_token = true;
    let studio = start(config);
    let token = studio.url().split_once("/?token=").unwrap().1.to_owned();
    let wrong = format!("/?token={}x", &token[1..]);
    for target in ["/", "/assets/app.js", "/api/runs", "/?token=", &wrong] {
        assert_eq!(get(&studio, target).refused(), 403, "{target}");
    }
    let opened = get(&studio, &format!("/?token={token}"));
    assert_eq!(opened.status, 200);
    let cookie = opened.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
    let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(send(&studio, "GET", "/api/runs", &cookie, b"").status, 200);
    let evil = format!("Host: evil.example:{}\r\n{cookie}", studio.address().port());
    assert_eq!(send(&studio, "GET", "/api/runs", &evil, b"").refused(), 403);
    let bad = cookie.replace(&token, "0");
    assert_eq!(send(&studio, "GET", "/api/runs", &bad, b"").refused(), 403);
}

#[test]
fn the_run_of_this_process_is_controlled() {
    let fixture = Fixture::new();
    RunDir::create(fixture.folder.path(), "second").unwrap();
    let (saves, stops) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let mut config = fixture.config();
    let (saved, stopped) = (saves.clone(), stops.clone());
    config.controls = Some(Controls {
        run: "0001-first".into(),
        save: Arc::new(move || _ = saved.fetch_add(1, Ordering::SeqCst)),
        stop: Arc::new(move || stopped.fetch_add(1, Ordering::SeqCst) == 0),
    });
    let studio = start(config);
    let post = |target: &str| send(&studio, "POST", target, &own(&studio), b"");
    assert_eq!(get(&studio, "/api/runs/0001-first").json()["controls"], true);
    assert_eq!(get(&studio, "/api/runs/0002-second").json()["controls"], false);
    assert_eq!(post("/api/runs/0001-first/save").status, 202);
    assert_eq!(post("/api/runs/0001-first/stop").status, 202);
    assert_eq!(post("/api/runs/0001-first/stop").refused(), 409);
    assert_eq!(post("/api/runs/0002-second/save").refused(), 409);
    assert_eq!(post("/api/runs/0002-second/stop").refused(), 409);
    assert_eq!((saves.load(Ordering::SeqCst), stops.load(Ordering::SeqCst)), (1, 2));
}

#[test]
fn generators_are_explored() {
    let fixture = Fixture::new();
    let fashion = runs::builtin_models::MODELS[0].checkpoint().unwrap();
    let file = |step: u64| fixture.run.join(format!("checkpoints/step-{step:08}.safetensors"));
    runs::checkpoint::save(&file(10), &fashion).unwrap();
    fs::write(file(20), "damaged").unwrap();
    let mut config = fixture.config();
    config.model =
        Some(Model { name: "fashion".into(), checkpoint: fashion.clone(), is_builtin: true });
    let studio = start(config);
    assert_eq!(get(&studio, "/api/info").json()["model"], "fashion");
    for target in ["/explore", "/runs/0001-first/explore", "/runs/0001-first/explore?step=10"] {
        let page = get(&studio, target);
        assert_eq!(page.status, 200, "{target}");
        assert!(page.text().starts_with("<!doctype html>"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
        let tag = format!("If-None-Match: {}\r\n", page.header("etag").unwrap());
        assert_eq!(send(&studio, "GET", target, &tag, b"").status, 304);
    }
    assert_eq!(get(&studio, "/runs/0001-first/explore?step=20").refused(), 409);
    assert_eq!(get(&studio, "/runs/0001-first/explore?step=30").refused(), 404);
    assert_eq!(get(&studio, "/runs/0001-first/explore?step=x").refused(), 400);
}

#[test]
fn a_client_that_vanishes_costs_nothing() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let target = "/api/runs/0001-first/events";
    for _ in 0..100 {
        Events::open(&studio, target).wait_for("event: state");
    }
    // Others that stop in the middle of a head, or of a body.
    let address = studio.address();
    let halves: Vec<TcpStream> = (0..50)
        .map(|index| {
            let mut stream = TcpStream::connect(address).unwrap();
            let head = match index % 2 {
                0 => "GET / HT".to_owned(),
                _ => format!(
                    "PUT /api/runs/0001-first/note HTTP/1.1\r\nHost: {address}\r\n{}\
                     Content-Length: 9\r\n\r\nhalf",
                    own(&studio)
                ),
            };
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let start = Instant::now();
    assert_eq!(get(&studio, "/api/runs").status, 200);
    assert!(start.elapsed() < PATIENCE);
    drop(halves);
    // Streams whose client left end at their next look at the files.
    #[cfg(target_os = "linux")]
    {
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        let start = Instant::now();
        // Tests of this file run beside this one.
        while open() > 90 {
            assert!(start.elapsed() < PATIENCE, "{} files are open", open());
            sleep(Duration::from_millis(100));
        }
    }
    assert!(!fixture.run.join("note.txt").exists());
}

#[test]
fn a_studio_ends_when_it_is_dropped() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let mut events = Events::open(&studio, "/api/runs/0001-first/events");
    events.wait_for("event: state");
    let address = studio.address();
    drop(studio);
    assert!(TcpStream::connect(address).is_err());
    let taken = Studio::start(fixture.config(), address).unwrap();
    let refused = Studio::start(fixture.config(), address).unwrap_err();
    assert!(refused.to_string().starts_with(&format!("cannot listen on {address}: ")));
    drop(taken);
}

#[test]
fn heads_are_limited() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let long = format!("X-Long: {}\r\n", "x".repeat(100 << 10));
    assert_eq!(send(&studio, "GET", "/", &long, b"").status, 431);
    let many = "X-Many: x\r\n".repeat(200);
    assert_eq!(send(&studio, "GET", "/", &many, b"").status, 431);
    assert_eq!(raw(studio.address(), b"nonsense\r\n\r\n").status, 400);
    assert_eq!(get(&studio, "/").status, 200);
}

/// The path of a run directory is nowhere in what clients get.
#[test]
fn no_path_of_the_disk_is_told() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let path = Path::new(fixture.folder.path()).to_str().unwrap();
    for target in ["/api/runs", "/api/runs/0001-first", "/api/runs/none", "/api/info"] {
        assert!(!get(&studio, target).text().contains(path), "{target}");
    }
}
