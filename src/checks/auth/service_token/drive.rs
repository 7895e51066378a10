//! How service-token is driven.

use serde_json::json;

use super::{Configured, Evidence, Show, Shown};
use crate::base::json::sha256_hex;
use crate::checks::audit::entries::Logs;
use crate::checks::auth::people;
use crate::checks::{Cx, Undecided};
use crate::target::{Ask, Client, Credential, Instance};

/// Drives it.
///
/// # Errors
/// When a target does not start, or its databases cannot be read.
pub async fn drive(cx: &mut Cx, seen: &mut Evidence) -> Result<(), Undecided> {
    let target = cx.start(json!({})).await?;
    with_token(&target, cx.seed.to_string(), seen).await?;
    look_up(cx, &target, &mut seen.shows)?;
    let from = seen.shows.len();
    let target = without_token(cx, seen).await?;
    look_up(cx, &target, &mut seen.shows[from..])
}

async fn with_token(target: &Instance, seed: String, seen: &mut Evidence) -> Result<(), Undecided> {
    let header = target.setup().keys.header(&Credential::Service);
    let (_, token) = header.ok_or_else(|| Undecided("there is no token to show".to_owned()))?;
    let nobody = target.client(Credential::None);
    let session = session(&nobody.under(Credential::Operator(1))).await?;
    let shows = [
        (Shown::Right, Some(token.clone())),
        (
            Shown::Wrong,
            Some(format!("svc_{}", &sha256_hex(seed.as_bytes())[..24])),
        ),
        (Shown::Shortened, Some(token[..token.len() - 1].to_owned())),
        (Shown::Half, Some(token[..token.len() / 2].to_owned())),
        (Shown::First, Some(token[..1].to_owned())),
        (Shown::Extended, Some(format!("{token}0"))),
        (Shown::OtherCase, Some(token.to_uppercase())),
        (Shown::Empty, Some(String::new())),
        (Shown::Nothing, None),
    ];
    for (shown, value) in shows {
        let header = value.as_deref().map(|value| ("x-service-token", value));
        show(seen, Configured::Token, shown, &nobody, header, &session).await;
    }
    let bearer = format!("Bearer {token}");
    let header = Some(("authorization", bearer.as_str()));
    show(
        seen,
        Configured::Token,
        Shown::AsKey,
        &nobody,
        header,
        &session,
    )
    .await;
    Ok(())
}

/// A target whose key file has an empty token.
async fn without_token(cx: &mut Cx, seen: &mut Evidence) -> Result<Instance, Undecided> {
    let mut setup = cx.setup(json!({}));
    let file = setup.dir.join("keys-without-token.json");
    let mut keys = setup.keys.file();
    keys["service_token"] = json!("");
    std::fs::create_dir_all(&setup.dir)?;
    std::fs::write(&file, keys.to_string())?;
    setup.config["auth"]["key_file"] = json!(file);
    let target = cx.start_with(setup).await?;
    let operator = target.client(Credential::Operator(1));
    let session = session(&operator).await?;
    let nobody = operator.under(Credential::None);
    let shows = [
        (
            Shown::Wrong,
            &nobody,
            Some(("x-service-token", "svc_000000000000")),
        ),
        (Shown::Empty, &nobody, Some(("x-service-token", ""))),
        (Shown::Nothing, &nobody, None),
        (Shown::Operator, &operator, None),
    ];
    for (shown, client, header) in shows {
        show(seen, Configured::Empty, shown, client, header, &session).await;
    }
    Ok(target)
}

async fn session(client: &Client) -> Result<String, Undecided> {
    let exchange = client.send(open_session()).await;
    let id = exchange.answered()["session_id"].as_str();
    id.map(str::to_owned).ok_or_else(|| {
        Undecided(format!(
            "no session_id in the answer to {}",
            exchange.line()
        ))
    })
}

fn open_session() -> Ask {
    let body = json!({"user_id": "u-1", "conversation_id": "c-1"});
    Ask::post("api-gateway", "/v3/sessions", body)
}

/// One effect of each service.
fn effects(session: &str) -> [Ask; 5] {
    let tool = |name: &str| json!({"tool_name": name, "args": {"path": "a", "text": "b"}});
    let frame = json!({"session_id": session, "data": "AAEC"});
    [
        open_session(),
        people::note(),
        Ask::post("openclaw", "/execute", tool("file.read")),
        Ask::post("eva-os", "/gate-tool-call", tool("file.write")),
        Ask::post("vision-capture", "/v1/vision/frames", frame),
    ]
}

async fn show(
    seen: &mut Evidence,
    configured: Configured,
    shown: Shown,
    client: &Client,
    header: Option<(&str, &str)>,
    session: &str,
) {
    let tries = people::send_all(client, effects(session).into_iter(), header).await;
    seen.shows.extend(tries.into_iter().map(|tried| Show {
        configured,
        shown,
        tried,
        entries: None,
    }));
}

/// Looks every request up in the databases.
fn look_up(cx: &Cx, target: &Instance, shows: &mut [Show]) -> Result<(), Undecided> {
    let _span = cx.span("read databases");
    let logs = Logs::read(target)?;
    for Show { tried, entries, .. } in shows {
        *entries = logs.about(&tried.service, &tried.id);
    }
    Ok(())
}
