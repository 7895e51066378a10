//! How idempotency-key-support is driven.

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::story::{Asked, Sort, Story};
use super::{Evidence, Seen, traces};
use crate::chaos::approvals;
use crate::chaos::storm;
use crate::checks::bench::{self, Bench, Needs, Thing};
use crate::checks::recipes::{self, Recipe};
use crate::checks::{Cx, Undecided};
use crate::contract::routes::{Route, mutating, twin_of};
use crate::doubles::Behaviour;
use crate::target::{Ask, Credential};

/// Requests with one key at once.
const RACERS: usize = 8;
/// Races on each route.
const RACES: usize = 2;
/// What the backends take: long enough for a second request to come before the end of the first.
const SLOW_MS: u64 = 10;
/// Routes that are driven side by side.
const ROUTES_AT_ONCE: usize = 8;
/// A fence that nobody was shown, for a route that takes none.
const SOME_FENCE: i64 = 7;

/// Drives it.
///
/// # Errors
/// When there is no target, or nobody can look at what it did.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    cx.models.script(bench::model);
    cx.tools.script(bench::tools());
    cx.models.behave(Behaviour::slow(SLOW_MS));
    cx.tools.behave(Behaviour::slow(SLOW_MS));
    let patch = json!({
        "confirmations": {"ttl_ms": 600_000},
        "sessions": {"max_active": 1_000},
    });
    let mut target = cx.start(patch).await?;
    let client = target.client(Credential::Operator(1));
    let session = approvals::session(&client).await?;
    let bench = Bench {
        client,
        session,
        seed: cx.seed,
    };
    {
        let _span = cx.span("matrix");
        let routes: Vec<_> = mutating().map(|route| whole(&bench, route)).collect();
        let mut routes = stream::iter(routes).buffer_unordered(ROUTES_AT_ONCE);
        while let Some((name, one)) = routes.next().await {
            seen.routes.insert(name, one);
        }
    }
    let looked = traces::fill(cx, &target, seen).await;
    target.exited();
    looked
}

/// Everything on one route, as far as it goes.
async fn whole(bench: &Bench, route: &Route) -> (String, Seen) {
    let mut one = Seen::default();
    let outcome = match recipes::of(route) {
        Some(recipe) => play(bench, route, recipe, &mut one).await,
        None => Err(Undecided("there is no recipe for it".to_owned())),
    };
    one.trouble = outcome.err().map(|Undecided(why)| why);
    (route.to_string(), one)
}

async fn play(
    bench: &Bench,
    route: &Route,
    recipe: &Recipe,
    one: &mut Seen,
) -> Result<(), Undecided> {
    let things = bench.make(recipe, &recipe.name(), 4 + RACES).await?;
    let [plain, main, other, spelled, raced @ ..] = &things[..] else {
        return Err(Undecided(format!("only {} things were made", things.len())));
    };
    let desk = |thing| Desk {
        bench,
        route,
        recipe,
        thing,
        story: Story::about(thing),
    };
    let mut alone = desk(plain);
    alone.send(Sort::First, recipe.ask(plain)).await;
    one.plain = alone.story;
    let mut whole = desk(main);
    let outcome = whole.everything(other, one).await;
    one.main = whole.story;
    outcome?;
    let mut respelled = desk(spelled);
    respelled.other_spelling_first().await;
    one.spelled = respelled.story;
    for thing in raced {
        let mut at_once = desk(thing);
        at_once.race().await;
        one.races.push(at_once.story);
    }
    Ok(())
}

impl Story {
    fn about(thing: &Thing) -> Self {
        Self {
            marker: thing.marker.clone(),
            ..Self::default()
        }
    }
}

/// The requests about one thing.
struct Desk<'a> {
    bench: &'a Bench,
    route: &'a Route,
    recipe: &'a Recipe,
    thing: &'a Thing,
    story: Story,
}

impl Desk<'_> {
    fn key(&self) -> String {
        format!("{}-key", self.thing.marker)
    }

    /// The request, without its key.
    fn ask(&self) -> Ask {
        self.recipe.ask(self.thing)
    }

    /// The same over the twin, where there is one.
    fn twin(&self, ask: Ask) -> Ask {
        let twin = self.route.twin.and_then(|_| twin_of(&ask.path));
        Ask {
            path: twin.unwrap_or_else(|| ask.path.clone()),
            ..ask
        }
    }

    async fn send(&mut self, sort: Sort, ask: Ask) {
        let by = Credential::Operator(1);
        self.send_as(by, sort, ask).await;
    }

    async fn send_as(&mut self, by: Credential, sort: Sort, ask: Ask) {
        let exchange = self.bench.client.under(by).send(ask).await;
        self.story.asked.push(Asked::new(sort, &exchange));
    }

    /// One key, and everything that may come with it.
    async fn everything(&mut self, other: &Thing, one: &mut Seen) -> Result<(), Undecided> {
        let key = self.key();
        let ask = |desk: &Self| desk.ask().key(&key);
        self.send(Sort::First, ask(self)).await;
        self.send(Sort::Repeat, ask(self)).await;
        self.send(Sort::Respelled, respelled(self.ask(), &key))
            .await;
        if self.route.twin.is_some() {
            self.send(Sort::Twin, self.twin(ask(self))).await;
        }
        for (by, sort) in [
            (Credential::None, Sort::NoCredentials),
            (Credential::Operator(2), Sort::OtherActor),
        ] {
            self.send_as(by, sort, ask(self)).await;
        }
        let body = self.recipe.with_other_body(self.thing);
        self.send(Sort::OtherBody, body.key(&key)).await;
        let fence = match self.recipe.needs {
            Needs::Decision(_) => self.thing.token + 1,
            _ => SOME_FENCE,
        };
        self.send(Sort::OtherFence, ask(self).fence(fence)).await;
        if self.recipe.names_resource() {
            let before = self.bench.look(self.recipe, other).await;
            let about = self.recipe.about(self.thing, other);
            self.send(Sort::OtherResource, about.key(&key)).await;
            let after = self.bench.look(self.recipe, other).await;
            one.other = Some((before, after));
        }
        self.elsewhere(&key, one).await?;
        self.send(Sort::LastRepeat, ask(self)).await;
        let other_key = format!("{key}-2");
        self.send(Sort::OtherKey, self.ask().key(&other_key)).await;
        self.send(Sort::OtherKeyAgain, self.ask().key(&other_key))
            .await;
        Ok(())
    }

    /// The same key at another endpoint.
    async fn elsewhere(&mut self, key: &str, one: &mut Seen) -> Result<(), Undecided> {
        let recipe = recipes::elsewhere(self.recipe);
        one.elsewhere = recipe.name();
        let whose = format!("elsewhere {}", self.recipe.name());
        let things = self.bench.make(recipe, &whose, 1).await?;
        for (thing, sort) in things
            .iter()
            .cycle()
            .zip([Sort::Elsewhere, Sort::ElsewhereAgain])
        {
            self.send(sort, recipe.ask(thing).key(key)).await;
        }
        Ok(())
    }

    /// The twin and the quoted spelling come first, the others after them.
    async fn other_spelling_first(&mut self) {
        let key = self.key();
        let first = self.twin(respelled(self.ask(), &key));
        self.send(Sort::First, first).await;
        self.send(Sort::Repeat, self.ask().key(&key)).await;
    }

    /// Many at once, in both spellings and over both twins, and then once more.
    async fn race(&mut self) {
        let key = self.key();
        let asked = storm(RACERS, |number| {
            let plain = self.ask();
            let ask = match number % 2 {
                0 => plain.key(&key),
                _ => respelled(plain, &key),
            };
            let ask = if number % 4 < 2 { ask } else { self.twin(ask) };
            let client = self.bench.client.clone();
            async move { Asked::new(Sort::Racer, &client.send(ask).await) }
        });
        let asked = asked.await;
        self.story.asked.extend(asked);
        self.send(Sort::LastRepeat, self.ask().key(&key)).await;
    }
}

/// With the key as the draft of the IETF writes it: a quoted string.
fn respelled(ask: Ask, key: &str) -> Ask {
    ask.header("idempotency-key", format!("\"{key}\""))
}
