//! Requests that write to every chain: effects of two operators, refusals of a known actor, and
//! requests of nobody. Each has a correlation id of its own. No request here is refused for its
//! role or its fence, which are other gates' matters.

use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::base::{Seed, random_id};
use crate::checks::{Sent, bench};
use crate::target::{Ask, Client, Credential, Instance};

/// Sends under the credentials of the harness.
#[derive(Clone)]
pub struct Desk {
    client: Client,
}

/// Numbers and texts of one round for one chain.
struct Words(ChaCha8Rng);

impl Words {
    fn new(seed: Seed, chain: &str) -> Self {
        Self(seed.child(chain).rng())
    }

    fn text(&mut self, prefix: &str) -> String {
        random_id(prefix, &mut self.0)
    }
}

impl Desk {
    /// At this instance, over all of its restarts.
    #[must_use]
    pub fn new(instance: &Instance) -> Self {
        Self {
            client: instance.client(Credential::None),
        }
    }

    /// A client under this credential.
    #[must_use]
    pub fn client(&self, who: Credential) -> Client {
        self.client.under(who)
    }

    /// Sends one request.
    pub async fn send(&self, who: Credential, ask: Ask) -> Sent {
        let exchange = self.client.under(who.clone()).send(ask).await;
        Sent::new(&exchange, &who)
    }

    /// A session, for what needs one.
    pub async fn session(&self, seed: Seed) -> Sent {
        let mut words = Words::new(seed, "session");
        self.send(Credential::Operator(1), create_session(&mut words))
            .await
    }

    /// One round over all chains, side by side: 24 effects, 7 refusals and 7 requests of
    /// nobody.
    pub async fn round(&self, seed: Seed, session_id: &str) -> Vec<Sent> {
        let (gateway, memory, openclaw, eva, vision, perception, agent) = tokio::join!(
            self.gateway(Words::new(seed, "api-gateway")),
            self.memory(Words::new(seed, "memory-engine")),
            self.openclaw(Words::new(seed, "openclaw")),
            self.eva(Words::new(seed, "eva-os")),
            self.vision(Words::new(seed, "vision-capture"), session_id),
            self.perception(Words::new(seed, "perception")),
            self.agent(Words::new(seed, "orchestrator")),
        );
        [gateway, memory, openclaw, eva, vision, perception, agent].concat()
    }

    async fn gateway(&self, mut words: Words) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..4u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, create_session(&mut words)).await);
        }
        let path = sent[0].answer["session_id"]
            .as_str()
            .map(|id| format!("/v3/sessions/{id}"));
        if let Some(path) = path {
            let ask = Ask::delete("api-gateway", &path);
            sent.push(self.send(Credential::Operator(2), ask).await);
        }
        let broken = Ask::post("api-gateway", "/v3/sessions", json!({"user_id": 7}));
        sent.push(self.send(Credential::Operator(2), broken).await);
        sent.push(
            self.send(Credential::None, create_session(&mut words))
                .await,
        );
        sent
    }

    async fn memory(&self, mut words: Words) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..4u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, store_memory(&mut words)).await);
        }
        let broken = Ask::post(
            "memory-engine",
            "/store",
            json!({"type": "fact", "content": 7}),
        );
        sent.push(self.send(Credential::Operator(1), broken).await);
        sent.push(self.send(Credential::None, store_memory(&mut words)).await);
        sent
    }

    async fn openclaw(&self, mut words: Words) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..3u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, read_file(&mut words)).await);
        }
        let broken = Ask::post("openclaw", "/execute", json!({"tool_name": 7, "args": {}}));
        sent.push(self.send(Credential::Operator(2), broken).await);
        sent.push(self.send(Credential::None, read_file(&mut words)).await);
        sent
    }

    async fn eva(&self, mut words: Words) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..3u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, guarded_call(&mut words)).await);
        }
        // The third stays pending. The first is approved and runs, the second is denied; nobody
        // decides again, which is a matter of other gates.
        for (path, of, who) in [("/approve", 0, 2), ("/deny", 1, 1)] {
            let answer = &sent[of].answer;
            let body = json!({
                "approval_id": answer["approval_id"],
                "fence_token": answer["fence_token"],
            });
            let ask = Ask::post("eva-os", path, body);
            sent.push(self.send(Credential::Operator(who), ask).await);
        }
        let broken = Ask::post(
            "eva-os",
            "/gate-tool-call",
            json!({"tool_name": 7, "args": {}}),
        );
        sent.push(self.send(Credential::Operator(2), broken).await);
        sent.push(self.send(Credential::None, guarded_call(&mut words)).await);
        sent
    }

    async fn vision(&self, mut words: Words, session_id: &str) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..3u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, store_frame(&mut words, session_id)).await);
        }
        let broken = Ask::post(
            "vision-capture",
            "/v1/vision/frames",
            json!({"session_id": 7}),
        );
        sent.push(self.send(Credential::Operator(1), broken).await);
        sent.push(
            self.send(Credential::None, store_frame(&mut words, session_id))
                .await,
        );
        sent
    }

    async fn perception(&self, mut words: Words) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..3u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, request_consent(&mut words)).await);
        }
        let broken = Ask::post(
            "perception",
            "/v1/perception/consent/request",
            json!({"session_id": 7}),
        );
        sent.push(self.send(Credential::Operator(2), broken).await);
        sent.push(
            self.send(Credential::None, request_consent(&mut words))
                .await,
        );
        sent
    }
}

impl Desk {
    async fn agent(&self, mut words: Words) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..2u8 {
            let who = Credential::Operator(1 + number % 2);
            sent.push(self.send(who, pursue(&mut words)).await);
        }
        let broken = Ask::post("orchestrator", "/agent/act", json!({"goal": 7}));
        sent.push(self.send(Credential::Operator(1), broken).await);
        sent.push(self.send(Credential::None, pursue(&mut words)).await);
        sent
    }
}

/// Requests to be in flight when the target is killed: two for each chain whose effects are its
/// own database's.
#[must_use]
pub fn burst(seed: Seed, session_id: &str) -> Vec<(Credential, Ask)> {
    let mut words = Words::new(seed, "burst");
    let asks = [
        create_session(&mut words),
        store_memory(&mut words),
        store_frame(&mut words, session_id),
        read_file(&mut words),
        create_session(&mut words),
        store_memory(&mut words),
        store_frame(&mut words, session_id),
        guarded_call(&mut words),
    ];
    let who = [1, 2].into_iter().cycle().map(Credential::Operator);
    who.zip(asks).collect()
}

/// One effect in this chain and in no other; none for a chain that no route writes to alone. What
/// the agent does is written at the memory engine too.
#[must_use]
pub fn effect(chain: &str, seed: Seed, session_id: &str) -> Option<Ask> {
    let mut words = Words::new(seed, chain);
    Some(match chain {
        "api-gateway" => create_session(&mut words),
        "memory-engine" => store_memory(&mut words),
        "openclaw" => read_file(&mut words),
        "eva-os" => guarded_call(&mut words),
        "vision-capture" => store_frame(&mut words, session_id),
        "perception" => request_consent(&mut words),
        _ => return None,
    })
}

/// How the resource of an `ok` entry is read back, when there is a route for it.
#[must_use]
pub fn readback(resource: &str) -> Option<Ask> {
    let (kind, id) = resource.split_once('/')?;
    match kind {
        "session" => Some(Ask::get("api-gateway", &format!("/v3/sessions/{id}"))),
        "memory" => Some(Ask::get("memory-engine", &format!("/recall/{id}"))),
        _ => None,
    }
}

fn create_session(words: &mut Words) -> Ask {
    let body = json!({
        "user_id": words.text("u-"),
        "conversation_id": words.text("c-"),
        "metadata": {"note": words.text("n-")},
    });
    Ask::post("api-gateway", "/v3/sessions", body)
}

fn store_memory(words: &mut Words) -> Ask {
    Ask::post(
        "memory-engine",
        "/store",
        json!({"type": "fact", "content": words.text("tea at ")}),
    )
}

fn read_file(words: &mut Words) -> Ask {
    let body = json!({"tool_name": "file.read", "args": {"path": words.text("f-")}});
    Ask::post("openclaw", "/execute", body)
}

fn guarded_call(words: &mut Words) -> Ask {
    let args: Value = json!({"path": words.text("f-"), "text": words.text("t-")});
    Ask::post(
        "eva-os",
        "/gate-tool-call",
        json!({"tool_name": "file.write", "args": args}),
    )
}

/// A goal that the model has an answer to, and no tool.
fn pursue(words: &mut Words) -> Ask {
    let body = json!({"goal": words.text("g-")});
    Ask::post("orchestrator", "/agent/act", body)
}

fn request_consent(words: &mut Words) -> Ask {
    bench::consent("request", &words.text("ses_"))
}

fn store_frame(words: &mut Words, session_id: &str) -> Ask {
    let body = json!({"session_id": session_id, "data": words.text("AAEC")});
    Ask::post("vision-capture", "/v1/vision/frames", body)
}
