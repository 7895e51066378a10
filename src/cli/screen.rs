//! Where lines go. Colour only reaches terminals and never with NO_COLOR; a closed pipe is not
//! an error, because whoever closed it has seen enough. Any other lost line is remembered.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use owo_colors::{OwoColorize, Style};

/// How often the live line is drawn, in Hz.
const DRAW_RATE: u8 = 10;

/// The first error of stdout.
static LOST: OnceLock<String> = OnceLock::new();

/// Prints a line of data on stdout.
pub(super) fn print(line: &str) {
    let mut out = anstream::stdout().lock();
    note(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// Remembers the first write to stdout that failed, a closed pipe aside.
pub(super) fn note(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // Only the first counts.
        let _ = LOST.set(error.to_string());
    }
}

/// Why lines of stdout were lost, if any were.
pub(super) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Prints `error: ...`, `hint: ...` or the like on stderr.
pub(super) fn complain(word: &str, text: &str) {
    let style = match word {
        "hint" => Style::new().cyan(),
        "warning" => Style::new().yellow().bold(),
        _ => Style::new().red().bold(),
    };
    let _ = writeln!(
        anstream::stderr().lock(),
        "{}{} {text}",
        word.style(style),
        ":".style(style)
    );
}

/// The colour of a word that begins a status line. Without colour the word says it all.
pub(super) fn verb(word: &str) -> String {
    let style = match word {
        "PASS" | "PROMOTE" | "KILLED" | "REFUSED" | "PROVEN" | "HELD" | "LEGAL" => {
            Style::new().green().bold()
        }
        "FAIL" | "HOLD" | "BROKEN" | "SURVIVED" | "BYSTANDER" | "VACUOUS" | "REFUTED"
        | "ILLEGAL" => Style::new().red().bold(),
        "UNKNOWN" | "UNDECIDED" | "OPEN" | "MISSING" => Style::new().yellow().bold(),
        _ => Style::new().bold(),
    };
    format!("{}", format!("{word:>12}").style(style))
}

/// Lines on stdout, and beneath them, on a terminal only, one that tells what is going on.
pub(super) struct Screen {
    live: ProgressBar,
}

impl Screen {
    /// A screen for `total` steps.
    pub(super) fn new(total: usize) -> Self {
        let live = if std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(
                Some(total as u64),
                ProgressDrawTarget::stderr_with_hz(DRAW_RATE),
            )
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template(
            "{prefix:>12} [{elapsed}] {bar:20} {pos}/{len} {wide_msg}",
        );
        live.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        live.set_prefix("Running");
        live.enable_steady_tick(Duration::from_millis(1000 / u64::from(DRAW_RATE)));
        Self { live }
    }

    /// Prints a line above the live one.
    pub(super) fn line(&self, line: &str) {
        self.live.suspend(|| print(line));
    }

    /// Complains above the live line.
    pub(super) fn complain(&self, word: &str, text: &str) {
        self.live.suspend(|| complain(word, text));
    }

    /// How many steps are done, and what is going on.
    pub(super) fn progress(&self, done: usize, message: String) {
        self.live.set_position(done as u64);
        self.live.set_message(message);
    }

    /// Takes the live line away.
    pub(super) fn end(&self) {
        self.live.finish_and_clear();
    }
}
