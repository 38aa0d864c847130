use super::*;
use crate::fetch::http::tests::{Answer, Server, answer, content, hex, honest};
use std::time::Duration;

fn dataset(spec: &str) -> HubDataset {
    HubDataset::parse(spec).unwrap().unwrap()
}

/// The hub's list of files: paths and contents.
fn tree(files: &[(&str, &[u8])]) -> String {
    let file = |(path, content): &(&str, &[u8])| {
        serde_json::json!({
            "type": "file", "oid": "0123", "size": content.len(), "path": path, "xetHash": "9f",
            "lfs": { "oid": hex(content), "size": content.len(), "pointerSize": 132 },
        })
    };
    let mut entries: Vec<_> = files.iter().map(file).collect();
    entries
        .push(serde_json::json!({ "type": "directory", "oid": "4567", "size": 0, "path": "data" }));
    entries
        .push(serde_json::json!({ "type": "file", "oid": "89ab", "size": 9, "path": "README.md" }));
    serde_json::to_string(&entries).unwrap()
}

fn json(text: String) -> Answer {
    Box::new(move |_| {
        answer("200 OK", &[&format!("Content-Length: {}", text.len())], text.as_bytes())
    })
}

fn not_found() -> Answer {
    Box::new(|_| answer("404 Not Found", &["Content-Length: 0"], b""))
}

struct Outcome {
    result: Result<PathBuf, FetchError>,
    requests: Vec<String>,
}

impl Outcome {
    /// The first lines of the requests.
    fn lines(&self) -> Vec<&str> {
        self.requests.iter().map(|head| head.lines().next().unwrap()).collect()
    }

    #[track_caller]
    fn problem(&self) -> &str {
        match self.result.as_ref().unwrap_err() {
            FetchError::Hub { problem, .. } => problem,
            other => panic!("{other:?}"),
        }
    }
}

fn fetched(spec: &str, datasets: &Path, token: Option<&str>, answers: Vec<Answer>) -> Outcome {
    let server = Server::start(answers);
    let token = token.and_then(|token| Token::new(&server.base, token).unwrap());
    let client = Client::new(Duration::ZERO, token);
    let result = fetch_by(&client, &dataset(spec), datasets, &server.base, &|_| ());
    Outcome { result, requests: server.requests() }
}

#[test]
fn shards_are_fetched_once() {
    let datasets = tempfile::tempdir().unwrap();
    let (train, test) = (content(), b"test".to_vec());
    let files: [(&str, &[u8]); 2] = [
        ("data/train-00000-of-00001.parquet", &train),
        ("data/test-00000-of-00001.parquet", &test),
    ];
    let answers = vec![json(tree(&files)), honest(test.clone()), honest(train.clone())];
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
    let folder = outcome.result.as_ref().unwrap();
    assert_eq!(*folder, datasets.path().join("hf/me--cats"));
    assert_eq!(fs::read(folder.join(files[0].0)).unwrap(), train);
    assert_eq!(fs::read(folder.join(files[1].0)).unwrap(), test);
    assert_eq!(
        outcome.lines(),
        [
            "get /api/datasets/me/cats/tree/main?recursive=true http/1.1",
            "get /datasets/me/cats/resolve/main/data/test-00000-of-00001.parquet http/1.1",
            "get /datasets/me/cats/resolve/main/data/train-00000-of-00001.parquet http/1.1",
        ]
    );
    assert!(outcome.requests.iter().all(|head| !head.contains("authorization")));
    // Without the server.
    assert!(fetched("hf://datasets/me/cats", datasets.path(), None, vec![]).result.is_ok());
    // A file that is missing is fetched again, from where it ended.
    let path = folder.join(files[0].0);
    fs::remove_file(&path).unwrap();
    fs::write(folder.join("data/train-00000-of-00001.parquet.part"), &train[..1000]).unwrap();
    let answers = vec![json(tree(&files)), honest(train.clone())];
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
    assert!(outcome.result.is_ok());
    assert!(outcome.requests[1].contains("range: bytes=1000-"), "{}", outcome.requests[1]);
    assert_eq!(fs::read(&path).unwrap(), train);
    // A file that is another one is kept.
    fs::write(&path, "mine").unwrap();
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, vec![]);
    assert!(matches!(outcome.result, Err(FetchError::InTheWay { path: found }) if found == path));
}

#[test]
fn the_converted_copy_is_the_second_choice() {
    let datasets = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 1] = [("default/train/0000.parquet", b"x")];
    let answers = vec![json(tree(&[])), json(tree(&files)), honest(b"x".to_vec())];
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert_eq!(
        outcome.lines()[1..],
        [
            "get /api/datasets/me/cats/tree/refs%2fconvert%2fparquet?recursive=true http/1.1",
            "get /datasets/me/cats/resolve/refs%2fconvert%2fparquet/default/train/0000.parquet \
             http/1.1",
        ]
    );
    let outcome =
        fetched("hf://datasets/me/dogs", datasets.path(), None, vec![json(tree(&[])), not_found()]);
    assert!(outcome.problem().contains("no Parquet files"));
    // A revision that is named has no second choice.
    let outcome = fetched("hf://datasets/me/cats@v1", datasets.path(), None, vec![json(tree(&[]))]);
    assert!(outcome.problem().contains("no Parquet files"));
    assert!(outcome.lines()[0].starts_with("get /api/datasets/me/cats/tree/v1?"));
    let outcome = fetched("hf://datasets/me/none", datasets.path(), None, vec![not_found()]);
    assert!(matches!(outcome.result, Err(FetchError::Status { status: 404, .. })));
}

#[test]
fn one_configuration_is_chosen() {
    let datasets = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 2] =
        [("large/train-0.parquet", b"large"), ("small/train-0.parquet", b"small")];
    let of = |spec: &str, answers| fetched(spec, datasets.path(), None, answers);
    let outcome = of("hf://datasets/me/cats", vec![json(tree(&files))]);
    assert!(matches!(
        outcome.result,
        Err(FetchError::HubConfigs { known, .. }) if known == "large, small"
    ));
    let beside: [(&str, &[u8]); 2] = [("small/train-0.parquet", b"small"), ("train.parquet", b"x")];
    let outcome = of("hf://datasets/me/cats", vec![json(tree(&beside))]);
    assert!(matches!(
        outcome.result,
        Err(FetchError::HubConfigs { known, .. }) if known == "., small"
    ));
    let outcome = of("hf://datasets/me/cats/tiny", vec![json(tree(&files))]);
    assert!(outcome.problem().contains("\"tiny\""));
    let answers = vec![json(tree(&files)), honest(b"small".to_vec())];
    let folder = of("hf://datasets/me/cats/small", answers).result.unwrap();
    assert_eq!(folder, datasets.path().join("hf/me--cats--small"));
    assert_eq!(fs::read(folder.join("small/train-0.parquet")).unwrap(), b"small");
    assert!(!folder.join("large").exists());
}

#[test]
fn lists_may_have_pages() {
    let datasets = tempfile::tempdir().unwrap();
    let next = |next: &'static str| -> Answer {
        Box::new(move |head| {
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let link = format!("Link: <{}>; rel=\"next\"", next.replace("HOST", host));
            let text = tree(&[("a/train-0.parquet", b"a")]);
            answer("200 OK", &[&format!("Content-Length: {}", text.len()), &link], text.as_bytes())
        })
    };
    let answers = vec![
        next("http://HOST/api/datasets/me/cats/tree/main?recursive=true&cursor=1"),
        json(tree(&[("a/train-1.parquet", b"b")])),
        honest(b"a".to_vec()),
        honest(b"b".to_vec()),
    ];
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(outcome.lines()[1].contains("cursor=1"));
    let elsewhere = vec![next("http://other.example/api/datasets/me/cats/tree/main")];
    let outcome = fetched("hf://datasets/me/more", datasets.path(), None, elsewhere);
    assert!(outcome.problem().contains("elsewhere"));
}

#[test]
fn lists_are_not_trusted() {
    let datasets = tempfile::tempdir().unwrap();
    for path in [
        "../x.parquet",
        "/x.parquet",
        "a/../../x.parquet",
        "a//x.parquet",
        ".x.parquet",
        "a\\x.parquet",
        "C:x.parquet",
        "\u{1b}[2J.parquet",
        "caf\u{e9}.parquet",
    ] {
        let answers = vec![json(tree(&[(path, b"x")]))];
        let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
        let message = outcome.result.as_ref().unwrap_err().to_string();
        assert!(outcome.problem().contains("is listed"), "{path}: {message}");
        assert!(!message.contains(['\n', '\u{1b}']), "{message}");
    }
    for text in [
        "<html>",
        "{\"error\":\"x\"}",
        "[{\"type\":\"file\"}]",
        "[{\"type\":\"file\",\"path\":\"a.parquet\",\"size\":1}]",
        "[{\"type\":\"file\",\"path\":\"a.parquet\",\"lfs\":{\"oid\":\"12\",\"size\":1}}]",
    ] {
        let answers = vec![json(text.to_owned())];
        let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
        assert!(!outcome.problem().contains('\n'), "{text}");
    }
    assert!(!datasets.path().join("x.parquet").exists());
    // Another file than the one that is listed.
    let files: [(&str, &[u8]); 1] = [("train.parquet", b"12")];
    let answers = vec![json(tree(&files)), honest(b"34".to_vec())];
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), None, answers);
    assert!(matches!(outcome.result, Err(FetchError::Checksum { .. })), "{:?}", outcome.result);
}

#[test]
fn the_token_is_for_one_server() {
    let datasets = tempfile::tempdir().unwrap();
    let secret = "hf_very_secret";
    let has_token = |head: &String| head.contains(&format!("authorization: bearer {secret}"));
    let files: [(&str, &[u8]); 1] = [("train.parquet", b"12")];
    // The file is on another server, as the hub's are: it gets no token.
    let elsewhere = Server::start(vec![honest(b"12".to_vec())]);
    let moved = format!("Location: {}/there", elsewhere.base);
    let redirect: Answer =
        Box::new(move |_| answer("302 Found", &[&moved, "Content-Length: 0"], b""));
    let answers = vec![json(tree(&files)), redirect];
    let outcome = fetched("hf://datasets/me/cats", datasets.path(), Some(secret), answers);
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    assert!(outcome.requests.iter().all(has_token), "{:?}", outcome.requests);
    let other = elsewhere.requests();
    assert!(other.len() == 1 && !other[0].contains("authorization"), "{other:?}");
    // It is in no error.
    let refused: Answer = Box::new(|_| answer("401 Unauthorized", &["Content-Length: 0"], b""));
    let outcome = fetched("hf://datasets/me/dogs", datasets.path(), Some(secret), vec![refused]);
    let error = outcome.result.unwrap_err();
    assert!(matches!(error, FetchError::Status { status: 401, .. }));
    assert!(!format!("{error} {error:?}").contains(secret));
}

#[test]
fn tokens_that_cannot_be_sent() {
    let of = |base: &str, token: &str| Token::new(base, token).map(|token| token.is_some());
    assert!(matches!(of("https://huggingface.co", " hf_x\n"), Ok(true)));
    assert!(matches!(of("http://127.0.0.1:80/hub", "hf_x"), Ok(true)));
    assert!(matches!(of("https://huggingface.co", " "), Ok(false)));
    for (base, token) in [
        ("https://huggingface.co", "a b"),
        ("https://huggingface.co", "a\r\nx: y"),
        ("http://mirror.example", "hf_x"),
        ("https://huggingface.co@evil.example", "hf_x"),
    ] {
        let error = Token::new(base, token).err().unwrap();
        assert!(matches!(error, FetchError::Token { .. }) && !error.to_string().contains(token));
    }
}

#[test]
fn addresses() {
    for (spec, repository, config, revision) in [
        ("hf://datasets/me/cats", "me/cats", None, None),
        ("hf://datasets/mnist", "mnist", None, None),
        ("hf://datasets/me/cats/small", "me/cats", Some("small"), None),
        ("hf://datasets/me/cats@refs/pr/3", "me/cats", None, Some("refs/pr/3")),
        ("hf://datasets/me/cats/small@v1.0", "me/cats", Some("small"), Some("v1.0")),
    ] {
        let found = dataset(spec);
        assert_eq!(found.repository, repository);
        assert_eq!((found.config.as_deref(), found.revision.as_deref()), (config, revision));
    }
    for spec in [
        "hf://datasets/",
        "hf://datasets/a/b/c/d",
        "hf://datasets/../x",
        "hf://datasets/a/b@",
        "hf://datasets/a/b?c",
        "hf://datasets/a//b",
    ] {
        let error = HubDataset::parse(spec).unwrap().unwrap_err();
        assert!(matches!(error, FetchError::HubAddress { .. }), "{spec}");
    }
    assert!(HubDataset::parse("hf://models/me/cats").is_none());
}
