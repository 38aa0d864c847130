//! A headless Chromium over its debugging pipe: JSON messages of the DevTools protocol, each ended
//! by a NUL.

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// Programs, not the scripts of these names in /usr/bin: those stay alive when they are killed.
const PROGRAMS: [&str; 4] = [
    "/usr/lib/chromium/chromium-headless-shell",
    "/usr/lib/chromium/chromium",
    "/usr/lib/chromium-browser/chromium-browser",
    "/opt/google/chrome/chrome",
];

/// The browser of `DCGAN_CHROMIUM`, or an installed one.
pub fn program() -> Option<PathBuf> {
    let named = std::env::var_os("DCGAN_CHROMIUM").map(PathBuf::from);
    named.into_iter().chain(PROGRAMS.map(PathBuf::from)).find(|path| path.is_file())
}

/// Runs tests that need a browser, and exits. Where there is none they report themselves as
/// ignored; with `DCGAN_REQUIRE_BROWSER=1` that is a failure.
pub fn run_tests<const N: usize>(tests: [(&'static str, fn()); N]) -> ! {
    let mut arguments = Arguments::from_args();
    // A browser has threads of its own.
    arguments.test_threads.get_or_insert(1);
    let missing = program().is_none();
    if missing {
        eprintln!("ignored: no Chromium found (apt-get install chromium-headless-shell)");
        if std::env::var_os("DCGAN_REQUIRE_BROWSER").is_some_and(|value| value == "1") {
            eprintln!("DCGAN_REQUIRE_BROWSER=1");
            std::process::exit(1);
        }
    }
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            std::panic::catch_unwind(test).map_err(|panic| {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or(panic.downcast_ref::<&str>().copied());
                Failed::from(text.unwrap_or("panicked"))
            })
        })
        .with_ignored_flag(missing)
    });
    libtest_mimic::run(&arguments, trials.into()).exit()
}

/// A running browser, which ends when it is dropped.
pub struct Chromium {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    last_id: u64,
    _profile: TempDir,
}

/// An open page.
pub struct Page {
    session: String,
}

impl Chromium {
    /// Starts the browser, with WebGPU by its software renderer if `webgpu`.
    pub fn start(program: &Path, webgpu: bool) -> io::Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut command = Command::new("sh");
        // The browser reads commands from descriptor 3 and answers to 4.
        command.args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#]).arg(program);
        command.args(["--headless=new", "--no-sandbox", "--disable-dev-shm-usage"]);
        command.args(["--no-first-run", "--remote-debugging-pipe"]);
        if webgpu {
            command.args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]);
        }
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        Ok(Self { child, to, from: BufReader::new(from), last_id: 0, _profile: profile })
    }

    /// Calls a method of the protocol and returns its result.
    fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut bytes = Vec::new();
            self.from.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "the browser ended during {method}");
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].clone();
            }
        }
    }

    /// Opens an address in a window of these sides in pixels.
    pub fn open(&mut self, url: &str, [width, height]: [u32; 2]) -> Page {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call(None, "Target.attachToTarget", attach);
        let page = Page { session: attached["sessionId"].as_str().unwrap().to_owned() };
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call(Some(&page.session), "Emulation.setDeviceMetricsOverride", metrics);
        // Keys reach a page that has the focus.
        let focus = json!({ "enabled": true });
        self.call(Some(&page.session), "Emulation.setFocusEmulationEnabled", focus);
        self.call(Some(&page.session), "Page.navigate", json!({ "url": url }));
        page
    }

    /// The value of an expression, after its promise is kept.
    pub fn evaluate(&mut self, page: &Page, expression: &str) -> Value {
        let limited = format!(
            "Promise.race([(async () => ({expression}))(), new Promise((_, reject) => \
             setTimeout(() => reject(new Error('no answer in 5 minutes')), 300000))])"
        );
        let params = json!({ "expression": limited, "returnByValue": true, "awaitPromise": true });
        let result = self.call(Some(&page.session), "Runtime.evaluate", params);
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        result["result"]["value"].clone()
    }

    /// Presses a key, such as `ArrowRight`; one of a single character, such as `n`, is also typed.
    pub fn press(&mut self, page: &Page, key: &str) {
        let text = if key.len() == 1 { key } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let params = json!({ "type": kind, "key": key, "text": text });
            self.call(Some(&page.session), "Input.dispatchKeyEvent", params);
        }
    }

    /// Waits until the page's script has run, so that its names are known.
    pub fn wait_for_script(&mut self, page: &Page) {
        let loaded = "new Promise((done) => { const look = () => window.dcgan ? done() : \
                      setTimeout(look, 20); look(); })";
        // Before the address is open, the page is another one, which forgets the question.
        while self.evaluate(page, "location.protocol") != "file:" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        self.evaluate(page, loaded);
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
