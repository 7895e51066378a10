//! From a method and a path to a row of the table.

use std::collections::{BTreeMap, BTreeSet};

use super::{Row, Twin};

/// What a request line leads to.
pub(super) enum Matched<'a> {
    /// A row; the concrete canonical path, its braces, and whether the twin was asked for.
    Route {
        row: &'a Row,
        path: String,
        params: BTreeMap<String, String>,
        by_twin: bool,
    },
    /// The path is known, the method is not; `open` when anybody may know that.
    Method { allow: String, open: bool },
    /// Nothing.
    Nothing,
}

/// Looks a request line up.
pub(super) fn find<'a>(rows: &'a [Row], method: &str, path: &str) -> Matched<'a> {
    let mut allow = BTreeSet::new();
    let mut open = false;
    for row in rows {
        let Some((canonical, params, by_twin)) = fits(row, path) else {
            continue;
        };
        if row.method == method {
            return Matched::Route {
                row,
                path: canonical,
                params,
                by_twin,
            };
        }
        allow.insert(row.method);
        open |= row.min_role == super::MinRole::None;
    }
    if allow.is_empty() {
        return Matched::Nothing;
    }
    Matched::Method {
        allow: allow.into_iter().collect::<Vec<_>>().join(", "),
        open,
    }
}

type Fit = (String, BTreeMap<String, String>, bool);

fn fits(row: &Row, path: &str) -> Option<Fit> {
    if let Some(params) = braces(row.path, path) {
        return Some((path.to_owned(), params, false));
    }
    if row.twin == Twin::None {
        return None;
    }
    let canonical = format!("/v3/{}", path.strip_prefix("/v1/")?);
    let params = braces(row.path, &canonical)?;
    Some((canonical, params, true))
}

fn braces(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let mut params = BTreeMap::new();
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(params),
            (Some(wanted), Some(given)) => {
                let name = wanted
                    .strip_prefix('{')
                    .and_then(|name| name.strip_suffix('}'));
                match name {
                    Some(name) if !given.is_empty() => {
                        params.insert(name.to_owned(), given.to_owned());
                    }
                    None if wanted == given => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}
