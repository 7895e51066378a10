//! What a run leaves beside its report for build servers, and what it says to GitHub when it runs
//! there.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use super::exit::Stop;
use super::{places, screen};
use crate::base::files::write_atomically;
use crate::model::Plan;
use crate::report::{self, GateReport, JUNIT_FILE, SARIF_FILE};

/// Writes them into the report's folder.
pub(super) fn write(out: &Path, written: &GateReport, plan: &Plan) -> Result<(), Stop> {
    let path = out.join(JUNIT_FILE);
    let text = report::junit(written).map_err(std::io::Error::other);
    text.and_then(|text| write_atomically(&path, text.as_bytes()))
        .map_err(|error| places::unwritable(&path, &error))?;
    let path = out.join(SARIF_FILE);
    report::write_json(&path, &report::sarif(written, plan))
        .map_err(|error| places::unwritable(&path, &error))
}

/// Annotations and the step summary, where GitHub asks for them.
pub(super) fn tell_github(written: &GateReport, plan: &Plan) {
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        for line in report::annotations(written, plan) {
            screen::print(&line);
        }
    }
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return;
    };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let told = file.and_then(|mut file| file.write_all(report::step_summary(written).as_bytes()));
    if let Err(error) = told {
        let text = format!("the step summary was not written: {error}");
        screen::complain("warning", &text);
    }
}
