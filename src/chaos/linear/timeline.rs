//! Operations drawn over time: as bars of text, and as SVG inside one HTML file that needs no
//! network. What is drawn is told by the caller in words; nothing here knows a specification.
//!
//! Times are drawn by rank: what happened at the same tick stands below itself, and a long pause
//! takes no more room than a short one.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Columns of text over which bars are spread, at most.
const COLUMNS: usize = 64;
/// Characters of a label in text; longer ones are cut.
const LABEL: usize = 40;
/// Rows of one picture: a browser draws that many at once.
const ROWS: usize = 500;

/// How a row is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was placed in the longest legal prefix, at this place from 1.
    Placed(usize),
    /// Nothing allows it there.
    Stuck,
    /// It was not placed.
    Plain,
}

/// One operation, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was asked and answered.
    pub label: String,
    /// When the caller began, in any unit.
    pub invoked: u64,
    /// When it had an answer; it may have happened at any time since when it has none.
    pub returned: Option<u64>,
    /// How it is marked.
    pub mark: Mark,
    /// Whether it is one of those whose answers contradict each other.
    pub needed: bool,
}

/// The times that occur in rows, each with its rank.
fn ranks(rows: &[Row]) -> BTreeMap<u64, usize> {
    let times = rows.iter().flat_map(|row| {
        let returned = row.returned.map(|returned| returned.max(row.invoked));
        [Some(row.invoked), returned]
    });
    let mut ranks: BTreeMap<u64, usize> = times.flatten().map(|time| (time, 0)).collect();
    for (rank, entry) in ranks.values_mut().enumerate() {
        *entry = rank;
    }
    ranks
}

/// From which rank to which a row reaches; past the last one when it was never answered.
fn reach(row: &Row, ranks: &BTreeMap<u64, usize>) -> (usize, usize) {
    let returned = row.returned.map(|returned| returned.max(row.invoked));
    let end = returned.map_or(ranks.len(), |returned| ranks[&returned]);
    (ranks[&row.invoked], end)
}

/// A line a row: its label, its bar, and what is to be said of it.
#[must_use]
pub fn bars(rows: &[Row]) -> Vec<String> {
    let ranks = ranks(rows);
    let last = ranks.len().max(1);
    let columns = COLUMNS.min(last * 3);
    let column = |rank: usize| rank * (columns - 1) / last;
    let label = |row: &Row| -> String {
        let mut letters: Vec<char> = row.label.chars().collect();
        if letters.len() > LABEL {
            letters.truncate(LABEL - 1);
            letters.push('…');
        }
        letters.into_iter().collect()
    };
    let width = rows.iter().map(|row| label(row).chars().count()).max();
    let width = width.unwrap_or(0);
    rows.iter()
        .map(|row| {
            let (from, to) = reach(row, &ranks);
            let (from, to) = (column(from), column(to));
            let mut bar = " ".repeat(from);
            match (row.returned, to - from) {
                (Some(_), 0) => bar.push('│'),
                (Some(_), long) => bar += &format!("├{}┤", "─".repeat(long - 1)),
                (None, long) => bar += &format!("├{}…", "─".repeat(long.saturating_sub(1))),
            }
            let drawn = bar.chars().count();
            bar += &" ".repeat((columns + 1).saturating_sub(drawn));
            let said = match row.mark {
                Mark::Placed(place) => format!("{place}."),
                Mark::Stuck => "nothing allows this".to_owned(),
                Mark::Plain => String::new(),
            };
            let label = label(row);
            format!("{label:<width$} {bar} {said}")
                .trim_end()
                .to_owned()
        })
        .collect()
}

/// Pixels between two ranks, a row's height, and the room for labels.
const STEP: usize = 14;
const HEIGHT: usize = 22;
const MARGIN: usize = 330;
/// Pixels of a bar.
const BAR: usize = 16;

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#1b1f24;background:#fff}\
svg text{font:12px ui-monospace,monospace;fill:currentColor}\
.bar{fill:#6db6fe;stroke:#31709f}.open{fill:#ffaa26;stroke:#a96a00}.stuck{fill:#e5484d;stroke:#8f1d21}\
.plain{fill:#d5dbe1;stroke:#8a939c}.needed{stroke-width:3}.grid{stroke:#eef1f4}\
.box{overflow-x:auto;border:1px solid #d5dbe1;border-radius:6px;padding:8px}\
@media(prefers-color-scheme:dark){body{color:#e6e9ec;background:#15181b}.grid{stroke:#262b30}}";

/// One HTML file: a title, some sentences, and the rows as a picture. At most 500 are drawn, and
/// it is said how many are not.
#[must_use]
pub fn page(title: &str, sentences: &[String], rows: &[Row]) -> String {
    let drawn = &rows[..rows.len().min(ROWS)];
    let left_out = rows.len() - drawn.len();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                @for sentence in sentences { p { (sentence) } }
                p {
                    "Blue was placed, in the order of the numbers; orange was never answered; red \
                     is what nothing allows; grey was not placed. A thick border is one of the \
                     answers that contradict each other. Time runs to the right, by rank."
                }
                @if left_out > 0 { p { (left_out) " further operations are not drawn." } }
                div class="box" { (picture(title, drawn)) }
            }
        }
    };
    page.into_string()
}

fn picture(title: &str, rows: &[Row]) -> Markup {
    let ranks = ranks(rows);
    let width = MARGIN + (ranks.len() + 2) * STEP;
    let height = rows.len() * HEIGHT + HEIGHT;
    html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label=(title)
            width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) {
            @for (index, row) in rows.iter().enumerate() {
                (drawn(row, index * HEIGHT + 4, reach(row, &ranks), width))
            }
        }
    }
}

fn drawn(row: &Row, top: usize, (from, to): (usize, usize), width: usize) -> Markup {
    let left = MARGIN + from * STEP;
    let long = ((to - from) * STEP).max(STEP / 2);
    let colour = match row.mark {
        Mark::Stuck => "stuck",
        _ if row.returned.is_none() => "open",
        Mark::Placed(_) => "bar",
        Mark::Plain => "plain",
    };
    let class = if row.needed {
        format!("{colour} needed")
    } else {
        colour.to_owned()
    };
    let until = row.returned.map_or("never".to_owned(), |at| at.to_string());
    let middle = top + BAR - 4;
    html! {
        line class="grid" x1="0" x2=(width) y1=(top + BAR + 3) y2=(top + BAR + 3) {}
        text x="4" y=(middle) { (row.label) }
        rect class=(class) x=(left) y=(top) width=(long) height=(BAR) rx="3" {
            title { (row.label) ", from " (row.invoked) " to " (until) }
        }
        @if let Mark::Placed(place) = row.mark {
            text x=(left + 3) y=(middle) { (place) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, invoked: u64, returned: Option<u64>, mark: Mark) -> Row {
        Row {
            label: label.to_owned(),
            invoked,
            returned,
            mark,
            needed: mark == Mark::Stuck,
        }
    }

    fn stale() -> [Row; 4] {
        [
            row("write 1", 0, Some(10), Mark::Placed(1)),
            row("write 2", 20, Some(30), Mark::Placed(2)),
            row("write 3", 20, None, Mark::Plain),
            row("read 1", 40, Some(40), Mark::Stuck),
        ]
    }

    #[test]
    fn bars_stand_where_their_times_rank() {
        let expected = [
            "write 1 ├─┤              1.",
            "write 2      ├──┤        2.",
            "write 3      ├────────…",
            "read 1             │     nothing allows this",
        ];
        assert_eq!(bars(&stale()), expected);
        assert!(bars(&[]).is_empty());
    }

    #[test]
    fn a_long_label_is_cut_and_long_histories_fit_a_terminal() {
        let rows: Vec<Row> = (0..200)
            .map(|n| row(&"é".repeat(80), n, Some(n + 3), Mark::Placed(n as usize)))
            .collect();
        for bar in bars(&rows) {
            assert!(bar.chars().count() <= LABEL + COLUMNS + 8, "{bar}");
            assert!(bar.starts_with(&"é".repeat(LABEL - 1)) && bar.contains('…'));
        }
    }

    #[test]
    fn a_page_is_one_file_and_what_was_recorded_cannot_be_markup() {
        let evil = "</text><script src='http://x'>&\"";
        let rows = [row(evil, 0, Some(1), Mark::Stuck)];
        let page = page(evil, &[evil.to_owned()], &rows);
        assert!(!page.contains("<script") && page.contains("&lt;/text&gt;"));
        let links =
            page.matches("http").count() - page.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(links, page.matches("http://x").count(), "a link of its own");
        assert_eq!(page.matches("<rect").count(), 1);
        assert!(page.contains("class=\"stuck needed\""));
    }

    #[test]
    fn a_page_says_what_it_does_not_draw() {
        let rows: Vec<Row> = (0..ROWS as u64 + 7)
            .map(|n| row("read", n, Some(n), Mark::Plain))
            .collect();
        let page = page("many", &[], &rows);
        assert_eq!(page.matches("<rect").count(), ROWS);
        assert!(page.contains("7 further operations are not drawn"));
    }
}
