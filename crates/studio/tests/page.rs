//! The studio's page in a headless Chromium, with a real server. Where there is no Chromium the
//! tests report themselves as ignored; with `DCGAN_REQUIRE_BROWSER=1` that is a failure.

#[path = "../../train/tests/browser/chromium.rs"]
// Waiting for the script of an exported page is not for this one.
#[allow(dead_code)]
mod chromium;
#[path = "common/client.rs"]
mod client;

use chromium::{Chromium, Page, program};
use client::{Fixture, PATIENCE, start};
use runs::{MetricsRow, MetricsWriter, RunDir};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use studio::{Controls, Studio};

const DESKTOP: [u32; 2] = [1280, 900];
const PHONE: [u32; 2] = [390, 844];
/// A text that would run a script if it became HTML.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";
/// A grid: a gray PNG of 2×2 pixels.
const GRID: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x02\x00\x00\x00\x02\
    \x08\x00\x00\x00\x00W\xddR\xf8\x00\x00\x00\x0cIDATx\xdac`\xf8\x0f\x84\x00\x06\x00\x01\xff\
    \xad,7%\x00\x00\x00\x00IEND\xaeB`\x82";
/// `config.toml` of a run of 400 steps.
const CONFIG: &str = r#"data = "fashion-mnist"
seed = 7
steps = 400
log_every = 10
sample_every = 10
checkpoint_every = 100
keep = 3

[preprocess]
size = [28, 28]
channels = 1
fit = "crop"
background = [0, 0, 0]
filter = "lanczos3"
flip = false

[recipe]
name = "small"
description = ""

[recipe.image]
size = [28, 28]
channels = 1

[recipe.generator]
latent = 100
distribution = "normal"
width = 64
stem = "conv"
kernel = 4
activation = "relu"

[recipe.discriminator]
width = 64
kernel = 4
slope = 0.2
head = "conv"

[recipe.batch_norm]
eps = 0.00001
momentum = 0.1

[recipe.init]
std = 0.02
gamma_std = 0.02

[recipe.optimizer]
lr = 0.0002
beta1 = 0.5
beta2 = 0.999
eps = 0.00000001
weight_decay = 0.0

[recipe.train]
batch = 128
steps = 400
ema = 0.0
"#;

/// The names in the list.
const NAMES: &str = "[...document.querySelectorAll('table.runs tbody a.name')]\
                     .map((link) => link.textContent).join()";
/// Whether the charts in the window have a line: pixels in a color, which axes are not.
const ARE_CHARTS_DRAWN: &str = "(() => { \
    const isDrawn = (canvas) => { \
        if (!canvas.width || !canvas.height) return false; \
        const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data; \
        for (let i = 0; i < all.length; i += 4) \
            if (all[i + 3] > 100 && Math.abs(all[i] - all[i + 2]) > 60) return true; \
        return false; \
    }; \
    const shown = [...document.querySelectorAll('.charts .plot canvas:first-child')] \
        .filter((canvas) => canvas.getBoundingClientRect().bottom < innerHeight); \
    return shown.length > 0 && shown.every(isDrawn); \
})()";
/// The texts of the buttons that control a run, if they are visible.
const BUTTONS: &str = "[...document.querySelectorAll('.actions button')]\
                       .filter((button) => button.getClientRects().length)\
                       .map((button) => button.textContent).join()";
/// Whether no text became the image of [`HOSTILE`].
const IS_TEXT_ALONE: &str =
    "[...document.images].every((image) => image.getAttribute('src') !== 'x')";

fn main() {
    chromium::run_tests([
        ("runs_are_listed_sorted_and_compared", runs_are_listed_sorted_and_compared),
        ("a_run_is_shown_and_followed", a_run_is_shown_and_followed),
        ("a_typed_note_is_kept", a_typed_note_is_kept),
        ("a_read_only_page_changes_nothing", a_read_only_page_changes_nothing),
        ("a_phone_has_no_horizontal_scrolling", a_phone_has_no_horizontal_scrolling),
    ]);
}

/// A browser with the studio's page.
struct Window {
    browser: Chromium,
    page: Page,
}

impl Window {
    /// Opens the page at a hash such as `#/`, and notes its errors from then on.
    fn open(studio: &Studio, hash: &str, sides: [u32; 2]) -> Self {
        let mut browser = Chromium::start(&program().unwrap(), false).unwrap();
        let page = browser.open(&format!("http://{}/{hash}", studio.address()), sides);
        let mut window = Self { browser, page };
        let start = Instant::now();
        // Until the address is open, the page is another one.
        while window.value("location.protocol") != "http:" {
            assert!(start.elapsed() < PATIENCE, "the page does not open");
            sleep(Duration::from_millis(20));
        }
        window.value(
            "(window.problems = [], \
             addEventListener('error', (event) => problems.push(event.message)), \
             addEventListener('unhandledrejection', \
             (event) => problems.push(String(event.reason))), \
             document.addEventListener('securitypolicyviolation', \
             (event) => problems.push(event.violatedDirective)), 0)",
        );
        window
    }

    fn value(&mut self, expression: &str) -> Value {
        self.browser.evaluate(&self.page, expression)
    }

    /// Waits in the page until a condition holds.
    fn wait_for(&mut self, condition: &str) {
        let limit = PATIENCE.as_millis();
        self.value(&format!(
            "new Promise((done, fail) => {{ \
             const end = performance.now() + {limit}; \
             const look = () => {{ try {{ \
             if ({condition}) done(); \
             else if (performance.now() < end) setTimeout(look, 50); \
             else fail(new Error('not in time: ' + document.body.innerText)); \
             }} catch (error) {{ fail(error); }} }}; \
             look(); }})"
        ));
    }

    /// Waits until the first element of a selector has a text.
    fn wait_for_text(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!("document.querySelector({selector})?.textContent === {text}"));
    }

    /// Waits until the grid of a step is shown.
    fn wait_for_grid(&mut self, step: u64) {
        self.wait_for(&format!(
            "((image) => image?.alt.endsWith(' step {step}') && image.naturalWidth > 0)\
             (document.querySelector('.pictures img.grid'))"
        ));
    }

    /// Checks that the page had no error.
    #[track_caller]
    fn close(mut self) {
        assert_eq!(self.value("problems"), json!([]));
    }
}

/// Appends a row to a run's metrics.
fn log(run: &Path, step: u64, alerts: &[&str]) {
    let mut row = MetricsRow { step, d_loss: 1.5, g_loss: 0.5, ..MetricsRow::default() };
    if !alerts.is_empty() {
        row.extra.insert("alerts".into(), json!(alerts));
    }
    let mut writer = MetricsWriter::resume(&run.join("metrics.jsonl"), u64::MAX).unwrap();
    writer.append(&row).unwrap();
}

/// Adds a grid, whole at once as training does.
fn draw(run: &Path, step: u64) {
    let new = run.join("grid.new");
    fs::write(&new, GRID).unwrap();
    fs::rename(new, run.join(format!("samples/step-{step:08}.png"))).unwrap();
}

/// A fixture whose only run has [`HOSTILE`] wherever a text can be; also its folder's name.
fn hostile() -> (Fixture, String) {
    let mut fixture = Fixture::new();
    let name = format!("0001-{HOSTILE}");
    let run = fixture.folder.path().join(&name);
    fs::rename(&fixture.run, &run).unwrap();
    fs::write(run.join("config.toml"), CONFIG.replace("fashion-mnist", HOSTILE)).unwrap();
    fs::write(run.join("note.txt"), HOSTILE).unwrap();
    draw(&run, 20);
    fixture.run = run;
    (fixture, name)
}

fn runs_are_listed_sorted_and_compared() {
    let fixture = Fixture::new();
    draw(&fixture.run, 20);
    let folder = fixture.folder.path();
    let create = |name: &str, step| {
        let run = RunDir::create(folder, name).unwrap();
        fs::write(run.path().join("config.toml"), CONFIG).unwrap();
        log(run.path(), step, &[]);
        run
    };
    drop(create("second", 10));
    // A process trains in it as long as it is locked.
    let _running = create("third", 30);
    drop(create("fourth", 400));
    let studio = fixture.start();
    let mut window = Window::open(&studio, "#/", DESKTOP);
    window.wait_for(&format!("{NAMES} === '0004-fourth,0003-third,0002-second,0001-first'"));
    let cells = "[...document.querySelectorAll('table.runs tbody tr')].map((row) => \
                 ['.c-state', '.c-step'].map((cell) => row.querySelector(cell).textContent))";
    assert_eq!(
        window.value(cells),
        json!([
            ["finished", "400 / 400"],
            ["running", "30 / 400"],
            ["stopped", "10 / 400"],
            ["imported", "20"]
        ])
    );
    let sort = "document.querySelector('th.c-step button').click()";
    let direction = "document.querySelector('th.c-step').getAttribute('aria-sort')";
    window.value(sort);
    window.wait_for(&format!("{NAMES} === '0004-fourth,0003-third,0001-first,0002-second'"));
    assert_eq!(window.value(direction), "descending");
    window.value(sort);
    window.wait_for(&format!("{NAMES} === '0002-second,0001-first,0003-third,0004-fourth'"));
    assert_eq!(window.value(direction), "ascending");

    let compare = "document.querySelector('.tray a.primary')";
    for name in ["0001-first", "0002-second"] {
        assert_eq!(window.value(&format!("{compare}.hasAttribute('href')")), false);
        let select = format!("document.querySelector('input[aria-label=\"Compare {name}\"]')");
        window.value(&format!("{select}.click()"));
    }
    window.value(&format!("{compare}.click()"));
    window.wait_for("location.hash === '#/compare/0001-first/0002-second'");
    window.wait_for(
        "[...document.querySelectorAll('.panel h2 a')].map((link) => link.textContent).join() \
         === '0001-first,0002-second'",
    );
    window.wait_for("document.querySelector('.panel img.grid')?.naturalWidth > 0");
    window.close();
}

fn a_run_is_shown_and_followed() {
    let (fixture, name) = hostile();
    let studio = fixture.start();
    let mut window = Window::open(&studio, "#/", DESKTOP);
    window.wait_for_text("table.runs a.name", &name);
    window.wait_for_text("table.runs .note-line", HOSTILE);
    assert_eq!(window.value(IS_TEXT_ALONE), true);

    window.value("document.querySelector('table.runs a.name').click()");
    window.wait_for_text("h1", &name);
    window.wait_for_text(".facts dd", "20 / 400");
    window.wait_for_grid(20);
    window.wait_for(ARE_CHARTS_DRAWN);
    assert_eq!(window.value("document.querySelector('textarea').value"), HOSTILE);
    let about = window.value("document.querySelector('.masthead .about').textContent");
    assert!(about.as_str().unwrap().contains(HOSTILE), "{about}");

    // What is new appears by itself.
    window.value("window.isSame = true");
    log(&fixture.run, 30, &[HOSTILE]);
    draw(&fixture.run, 30);
    window.wait_for_text(".facts dd", "30 / 400");
    window.wait_for("document.querySelector('.plot [aria-label*=\"step 10 to step 30\"]')");
    window.wait_for_grid(30);
    window.wait_for_text(".alerts li b", HOSTILE);
    window.wait_for(ARE_CHARTS_DRAWN);
    assert_eq!(window.value("window.isSame"), true, "the page was loaded again");
    assert_eq!(window.value(IS_TEXT_ALONE), true);
    window.close();
}

fn a_typed_note_is_kept() {
    let fixture = Fixture::new();
    let studio = fixture.start();
    let mut window = Window::open(&studio, "#/run/0001-first", DESKTOP);
    window.wait_for("document.querySelector('textarea')");
    window.value("document.querySelector('textarea').focus()");
    let text = "better with EMA";
    for key in text.chars() {
        window.browser.press(&window.page, &key.to_string());
    }
    assert_eq!(window.value("document.querySelector('textarea').value"), text);
    let start = Instant::now();
    // It may be saved while it is typed, too.
    while fs::read_to_string(fixture.run.join("note.txt")).ok().as_deref() != Some(text) {
        assert!(start.elapsed() < PATIENCE, "the note is not saved");
        sleep(Duration::from_millis(20));
    }
    window.wait_for_text(".note [role=status]", "Saved");
    window.value("location.hash = '#/'");
    window.wait_for_text("table.runs .note-line", text);
    window.close();
}

fn a_read_only_page_changes_nothing() {
    let fixture = Fixture::new();
    let running = RunDir::create(fixture.folder.path(), "second").unwrap();
    fs::write(running.path().join("config.toml"), CONFIG).unwrap();
    log(running.path(), 10, &[]);
    for read_only in [false, true] {
        let mut config = fixture.config();
        config.controls = Some(Controls {
            run: "0002-second".into(),
            save: Arc::new(|| ()),
            stop: Arc::new(|| true),
        });
        config.read_only = read_only;
        let studio = start(config);
        let mut window = Window::open(&studio, "#/run/0002-second", DESKTOP);
        window.wait_for_text(".state", "running");
        window.wait_for("document.querySelector('textarea')");
        let buttons = if read_only { "" } else { "Save a checkpoint,Stop after this step" };
        window.wait_for(&format!("{BUTTONS} === '{buttons}'"));
        assert_eq!(window.value("document.querySelector('textarea').readOnly"), read_only);
        window.close();
    }
}

fn a_phone_has_no_horizontal_scrolling() {
    let (fixture, name) = hostile();
    log(&fixture.run, 30, &[HOSTILE]);
    let studio = fixture.start();
    let mut window = Window::open(&studio, "#/", PHONE);
    let is_wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    window.wait_for_text("table.runs a.name", &name);
    window.wait_for("document.querySelector('.thumb img').naturalWidth > 0");
    assert_eq!(window.value(is_wider), false, "the list");
    window.value("document.querySelector('table.runs a.name').click()");
    window.wait_for_grid(20);
    window.wait_for_text(".alerts li b", HOSTILE);
    window.wait_for("document.querySelector('.plot [aria-label*=\"step 10 to step 30\"]')");
    assert_eq!(window.value(is_wider), false, "a run");
    window.close();
}
