//! The levers: how a target is made wrong from outside its logic. Each records that it was pulled,
//! so that the kill matrix names the lever without anybody writing it down twice.

use std::sync::Arc;

use serde_json::Value;

use super::wire::{self, Rewrite, Taken};
use crate::base::json;
use crate::reference::Parts;
use crate::reference::web::{Handler, Row};

/// What a defect pulls. Applied in the order of the calls.
#[derive(Default)]
pub struct Levers {
    parts: Parts,
    pulled: Vec<&'static str>,
}

impl Levers {
    /// Nothing pulled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs SQL on the writer connection of one service's database, after migration, at each start.
    pub fn sql(&mut self, service: &str, statement: &str) {
        self.pull("sql");
        self.parts
            .after_migration
            .push((service.to_owned(), statement.to_owned()));
    }

    /// Swaps parts.
    pub fn part(&mut self, swap: impl FnOnce(&mut Parts)) {
        self.pull("part");
        swap(&mut self.parts);
    }

    /// Lays a JSON merge patch over every reading of the config file.
    pub fn config(&mut self, patch: Value) {
        self.pull("config");
        let before = Arc::clone(&self.parts.settings);
        self.parts.settings = Arc::new(move |file| {
            let mut settings = before(file);
            json::merge(&mut settings, &patch);
            settings
        });
    }

    /// Replaces the handler of one row of the route table by what `wrap` makes of it.
    ///
    /// # Panics
    /// When the table has no such row: the mutant would be the reference.
    pub fn route(
        &mut self,
        (service, method, path): (&str, &str, &str),
        wrap: impl FnOnce(Handler) -> Handler,
    ) {
        self.pull("route");
        let row = self
            .parts
            .routes
            .iter_mut()
            .find(|row| is(row, service, method, path));
        let row = row.unwrap_or_else(|| panic!("no route {service} {method} {path}"));
        row.handler = wrap(Arc::clone(&row.handler));
    }

    /// Takes one row out of the route table.
    ///
    /// # Panics
    /// When the table has no such row: the mutant would be the reference.
    pub fn without_route(&mut self, (service, method, path): (&str, &str, &str)) {
        self.pull("route");
        let before = self.parts.routes.len();
        self.parts
            .routes
            .retain(|row| !is(row, service, method, path));
        assert!(
            self.parts.routes.len() < before,
            "no route {service} {method} {path}"
        );
    }

    /// Puts a rewriting proxy before every service.
    pub fn wire(&mut self, rewrite: Arc<dyn Rewrite>) {
        self.pull("wire");
        let taken = Arc::new(Taken::default());
        self.parts.bind = wire::behind(Arc::clone(&self.parts.bind), Arc::clone(&taken));
        let before = Arc::clone(&self.parts.announce);
        self.parts.announce = Arc::new(move |line| {
            let (line, rewrite) = (before(line), Arc::clone(&rewrite));
            let taken = Arc::clone(&taken);
            Box::pin(async move {
                let line = line.await;
                let fronted = match wire::is_secure(&line) {
                    true => wire::carried(line, &taken),
                    false => wire::front(line, rewrite, &taken).await,
                };
                fronted.expect("a wire proxy binds where the service does")
            })
        });
    }

    /// The levers that were pulled, each once, joined by `+`.
    #[must_use]
    pub fn names(&self) -> String {
        self.pulled.join("+")
    }

    /// The parts as they are now.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }

    fn pull(&mut self, lever: &'static str) {
        if !self.pulled.contains(&lever) {
            self.pulled.push(lever);
        }
    }
}

fn is(row: &Row, service: &str, method: &str, path: &str) -> bool {
    row.service == service && row.method == method && row.path == path
}
