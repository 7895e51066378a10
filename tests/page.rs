//! `report.html` in a browser: it says nothing to the console, asks the network for nothing, filters,
//! fits a phone, is readable in the dark, and its picture is not blank.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sonia_gate::model::{Model, Selection};
use sonia_gate::report::{DRAWN, KillMatrix, Sources, page};
use sonia_gate::verdict::read_report;

#[path = "foreign/mod.rs"]
mod foreign;

use foreign::left_out;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Names under which it is found.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// What asks the page; what it sees is in the document afterwards.
const PROBE: &str = include_str!("foreign/page.js");
/// Collects what goes wrong from before the page's own script on.
const WATCH: &str = "<script>window.problems=[];\
    addEventListener('error',(event)=>problems.push(String(event.message)));\
    for(const name of ['error','warn'])console[name]=(...words)=>problems.push(words.join(' '));\
    </script>";
/// A desk and a phone, in CSS pixels.
const DESK: (u32, u32) = (1280, 1600);
const PHONE: (u32, u32) = (500, 900);

fn browser() -> Option<&'static str> {
    let answers = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    BROWSERS.into_iter().find(answers)
}

/// The page of a run of the gates that are drawn, one of them red, beside the proof of the release.
fn written(folder: &Path) -> PathBuf {
    let out = folder.join("out");
    let mut gate = assert_cmd::Command::new(env!("CARGO_BIN_EXE_sonia-gate"));
    gate.current_dir(ROOT).args(["gate", "v4.7"]).args(DRAWN);
    let mutant = "--mutant=approval-check-then-set";
    gate.args([mutant, "--out"]).arg(&out).assert().code(1);
    let report = read_report(&out.join("gate-report.json")).unwrap();
    let model = Model::embedded().unwrap();
    let plan = model.plan("v4.7", &Selection::default()).unwrap();
    let matrix = Path::new(ROOT).join("releases/v4.7.0/kill-matrix.json");
    let evidence = DRAWN.into_iter().map(|name| {
        let path = out.join("evidence").join(name).join("evidence.json");
        let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        (name.to_owned(), value)
    });
    let text = page(&Sources {
        report: &report,
        plan: &plan,
        matrix: Some(&KillMatrix::read(&matrix).unwrap()),
        evidence: evidence.collect::<BTreeMap<_, _>>(),
    });
    assert!(text.len() < 3 << 20, "{} bytes", text.len());
    let asked = text
        .replacen("<head>", &format!("<head>{WATCH}"), 1)
        .replacen("</body>", &format!("<script>{PROBE}</script></body>"), 1);
    fs::write(folder.join("asked.html"), asked).unwrap();
    fs::write(folder.join("report.html"), text).unwrap();
    folder.to_owned()
}

/// A browser with a profile of its own in this folder.
fn open(browser: &str, folder: &Path, size: (u32, u32), more: &[&str], file: &str) -> Vec<u8> {
    let profile = tempfile::tempdir_in(folder).unwrap();
    let mut command = Command::new(browser);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu"]);
    command.args(["--disable-dev-shm-usage", "--hide-scrollbars"]);
    command.args(["--enable-logging=stderr", "--no-first-run"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--window-size={},{}", size.0, size.1));
    command.args(more);
    command.arg(format!("file://{}", folder.join(file).display()));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("CONSOLE"), "{said}");
    output.stdout
}

/// What the probe saw.
fn observed(browser: &str, folder: &Path, size: (u32, u32), more: &[&str]) -> Value {
    let more = [&["--dump-dom"], more].concat();
    let document = String::from_utf8(open(browser, folder, size, &more, "asked.html")).unwrap();
    let (_, rest) = document.split_once("<pre id=\"observed\">").unwrap();
    let (text, _) = rest.split_once("</pre>").unwrap();
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    let seen: Value = serde_json::from_str(&text.replace("&amp;", "&")).unwrap();
    assert_eq!(seen["problems"], Value::Array(Vec::new()), "{seen}");
    assert_eq!(seen["requests"], 0, "{seen}");
    seen
}

#[test]
fn the_page_works_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let folder = written(folder.path());
    let Some(browser) = browser() else {
        return left_out("the page in a browser: no chromium");
    };
    a_picture_is_not_blank(browser, &folder);
    let seen = observed(browser, &folder, DESK, &[]);
    for (what, expected) in [
        ("title", "sonia-gate: PARTIAL v4.7"),
        ("heading", "PARTIAL"),
        ("all", "84 gates"),
        ("failed", "1 of 84 gates"),
        ("failed_names", "approval-race-safe"),
        ("searched", "1 of 84 gates"),
        ("searched_names", "chain-tamper-detection"),
        ("nothing", "0 of 84 gates"),
        ("again", "84 gates"),
        ("opened", "approval-race-safe"),
        ("first_stop", "To the gates"),
    ] {
        assert_eq!(seen[what], expected, "{what} in {seen}");
    }
    assert_eq!(seen["unnamed"], Value::Array(Vec::new()), "{seen}");
    assert!(seen["pictures"].as_u64().unwrap() >= 4, "{seen}");
    let dark = observed(
        browser,
        &folder,
        DESK,
        &["--blink-settings=preferredColorScheme=0"],
    );
    let light = observed(
        browser,
        &folder,
        DESK,
        &["--blink-settings=preferredColorScheme=1"],
    );
    assert_eq!(
        (&dark["dark"], &light["dark"]),
        (&true.into(), &false.into())
    );
    for (shown, name) in [(&dark, "dark"), (&light, "light")] {
        let contrast = shown["contrast"].as_f64().unwrap();
        assert!(contrast >= 4.5, "{name}: {shown}");
    }
    let phone = observed(browser, &folder, PHONE, &[]);
    assert!(
        phone["beyond"].as_i64().unwrap() <= 0,
        "wider than a phone: {phone}"
    );
}

fn a_picture_is_not_blank(browser: &str, folder: &Path) {
    let picture = folder.join("page.png");
    let shot = format!("--screenshot={}", picture.display());
    open(browser, folder, DESK, &[&shot], "report.html");
    let reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(picture).unwrap()));
    let mut reader = reader.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), DESK);
    let each = info.color_type.samples();
    let colours: BTreeSet<&[u8]> = pixels.chunks(each).collect();
    assert!(colours.len() > 50, "{} colours", colours.len());
    // Something is drawn in every quarter of its height.
    let line = info.line_size;
    for (quarter, rows) in pixels.chunks(line * DESK.1 as usize / 4).enumerate() {
        let colours: BTreeSet<&[u8]> = rows.chunks(each).collect();
        assert!(
            colours.len() > 5,
            "quarter {quarter}: {} colours",
            colours.len()
        );
    }
}
