//! That the proxies proxy: what the API says happens to connections.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::tests::{Api, echo, through};

#[tokio::test]
async fn a_proxy_proxies_goes_down_and_comes_up_where_it_was() {
    let api = Api::start().await;
    let listen = api.proxy("p", &echo().await).await;
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(through(&mut stream, b"hello").await.unwrap(), b"hello");
    let down = api
        .ok("POST", "/proxies/p", json!({"enabled": false}))
        .await;
    assert_eq!(
        (&down["enabled"], &down["listen"]),
        (&json!(false), &json!(listen))
    );
    assert!(through(&mut stream, b"anybody?").await.is_err());
    assert!(TcpStream::connect(&listen).await.is_err());
    let up = api
        .ok("PATCH", "/proxies/p", json!({"enabled": true}))
        .await;
    assert_eq!(
        (&up["enabled"], &up["listen"]),
        (&json!(true), &json!(listen))
    );
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    assert_eq!(through(&mut stream, b"again").await.unwrap(), b"again");
    api.ok("DELETE", "/proxies/p", Value::Null).await;
    assert!(through(&mut stream, b"anybody?").await.is_err());
    assert!(TcpStream::connect(&listen).await.is_err());
}

#[tokio::test]
async fn another_upstream_ends_the_connections_and_a_name_of_the_same_place_does_not() {
    let api = Api::start().await;
    let (one, two) = (echo().await, echo().await);
    let listen = api.proxy("p", &one).await;
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    through(&mut stream, b"hello").await.unwrap();
    let by_name = listen.replace("127.0.0.1", "localhost");
    let same = api
        .ok(
            "PATCH",
            "/proxies/p",
            json!({"listen": by_name, "upstream": one}),
        )
        .await;
    assert_eq!(same["listen"], json!(listen));
    through(&mut stream, b"still").await.unwrap();
    let other = api
        .ok("PATCH", "/proxies/p", json!({"upstream": two}))
        .await;
    assert_eq!(
        (&other["upstream"], &other["enabled"]),
        (&json!(two), &json!(true))
    );
    assert!(through(&mut stream, b"anybody?").await.is_err());
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    through(&mut stream, b"new").await.unwrap();
}

#[tokio::test]
async fn reset_brings_every_proxy_up_and_takes_the_toxics_away() {
    let api = Api::start().await;
    let listen = api.proxy("p", &echo().await).await;
    api.ok("POST", "/proxies/p/toxics", json!({"type": "timeout"}))
        .await;
    api.ok("POST", "/proxies/p", json!({"enabled": false}))
        .await;
    api.ok("POST", "/reset", Value::Null).await;
    let shown = api.raw("GET", "/proxies/p", "").await.json();
    assert_eq!(
        (&shown["enabled"], &shown["toxics"]),
        (&json!(true), &json!([]))
    );
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    through(&mut stream, b"free").await.unwrap();
}

#[tokio::test]
async fn a_disabled_proxy_keeps_what_it_was_told_and_its_toxics() {
    let api = Api::start().await;
    let told = json!({
        "name": "p", "listen": "localhost:0", "upstream": echo().await, "enabled": false
    });
    let said = api.ok("POST", "/proxies", told).await;
    assert_eq!(
        (&said["listen"], &said["enabled"]),
        (&json!("localhost:0"), &json!(false))
    );
    api.ok("POST", "/proxies/p/toxics", json!({"type": "reset_peer"}))
        .await;
    let up = api
        .ok("PATCH", "/proxies/p", json!({"enabled": true}))
        .await;
    let listen = up["listen"].as_str().unwrap();
    assert!(listen.starts_with("127.0.0.1:"), "{listen}");
    let mut stream = TcpStream::connect(listen).await.unwrap();
    let error = through(&mut stream, b"hello").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_proxy_is_created_together_with_its_toxics_or_not_at_all() {
    let api = Api::start().await;
    let upstream = echo().await;
    let told = |name: &str, toxics: Value| json!({"name": name, "listen": "127.0.0.1:0", "upstream": upstream, "toxics": toxics});
    let limit = json!({"type": "limit_data", "attributes": {"bytes": 3}, "stream": "upstream"});
    let said = api.ok("POST", "/proxies", told("p", json!([limit]))).await;
    assert_eq!(said["toxics"][0]["name"], "limit_data_upstream");
    let mut stream = TcpStream::connect(said["listen"].as_str().unwrap())
        .await
        .unwrap();
    let error = through(&mut stream, b"hello").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    for (toxics, status) in [
        (json!([{"type": "latncy"}]), 400),
        (json!([limit, limit]), 409),
        (json!("none"), 400),
    ] {
        let answer = api
            .raw("POST", "/proxies", &told("q", toxics).to_string())
            .await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(api.raw("GET", "/proxies/q", "").await.status, 404);
    }
}

#[tokio::test]
async fn populating_leaves_what_is_the_same_and_replaces_what_is_not() {
    let api = Api::start().await;
    let (one, two) = (echo().await, echo().await);
    let listen = api.proxy("p", &one).await;
    api.ok("POST", "/proxies/p/toxics", json!({"type": "slow_close"}))
        .await;
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    through(&mut stream, b"hello").await.unwrap();
    let same = json!({"name": "p", "listen": listen, "upstream": one});
    let more = json!({"name": "q", "listen": "127.0.0.1:0", "upstream": one, "enabled": false});
    let said = api.ok("POST", "/populate", json!([same, more])).await;
    assert_eq!(
        said["proxies"][0]["toxics"][0]["name"],
        "slow_close_downstream"
    );
    assert_eq!(said["proxies"][1]["enabled"], json!(false));
    through(&mut stream, b"still").await.unwrap();
    let with = json!({"name": "p", "listen": listen, "upstream": one, "toxics": []});
    let said = api.ok("POST", "/populate", json!([with])).await;
    assert_eq!(said["proxies"][0]["toxics"], json!([]));
    let other = json!({"name": "p", "listen": listen, "upstream": two});
    let said = api.ok("POST", "/populate", json!([other])).await;
    assert_eq!(said["proxies"][0]["upstream"], json!(two));
    assert!(through(&mut stream, b"anybody?").await.is_err());
    // The first is made, the second cannot listen; both are told.
    let free = json!({"name": "r", "listen": "127.0.0.1:0", "upstream": one});
    let taken = json!({"name": "s", "listen": listen, "upstream": one});
    let answer = api
        .raw("POST", "/populate", &json!([free, taken]).to_string())
        .await;
    assert_eq!(answer.status, 500);
    let said = answer.json();
    assert_eq!(
        (&said["proxies"][0]["name"], &said["status"]),
        (&json!("r"), &json!(500))
    );
    assert!(
        said["error"].as_str().unwrap().starts_with("listen tcp "),
        "{said}"
    );
}

/// Which of 16 connections through a new proxy are reset, with a toxicity of a half.
async fn struck(seed: u64, name: &str, upstream: &str) -> Vec<bool> {
    let api = Api::seeded(seed).await;
    let listen = api.proxy(name, upstream).await;
    let toxic = json!({"type": "reset_peer", "stream": "upstream", "toxicity": 0.5});
    api.ok("POST", &format!("/proxies/{name}/toxics"), toxic)
        .await;
    let mut struck = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(&listen).await.unwrap();
        struck.push(through(&mut stream, b"?").await.is_err());
    }
    struck
}

#[tokio::test]
async fn the_seed_decides_for_each_proxy_which_connections_are_struck() {
    let upstream = echo().await;
    let one = struck(1, "p", &upstream).await;
    assert_eq!(one, struck(1, "p", &upstream).await);
    assert_ne!(one, struck(2, "p", &upstream).await);
    assert_ne!(one, struck(1, "q", &upstream).await);
    assert!(one.contains(&true) && one.contains(&false), "{one:?}");
}

#[tokio::test]
async fn a_toxicity_per_request_strikes_within_a_connection() {
    let api = Api::start().await;
    let listen = api.proxy("p", &echo().await).await;
    let toxic = json!({
        "type": "reset_peer", "stream": "upstream", "toxicity": 0.2, "toxicity_per": "request"
    });
    let said = api.ok("POST", "/proxies/p/toxics", toxic).await;
    assert_eq!(said["toxicity_per"], "request");
    let mut counts = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&listen).await.unwrap();
        let mut count = 0;
        while count < 50 && through(&mut stream, b"?").await.is_ok() {
            count += 1;
        }
        counts.push(count);
    }
    assert!(
        counts.iter().any(|count| (1..50).contains(count)),
        "{counts:?}"
    );
    let said = api
        .ok(
            "PATCH",
            "/proxies/p/toxics/reset_peer_upstream",
            json!({
                "toxicity": 0, "toxicity_per": "connection"
            }),
        )
        .await;
    assert_eq!(
        (&said["toxicity"], said.get("toxicity_per")),
        (&json!(0), None)
    );
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    for _ in 0..50 {
        through(&mut stream, b"?").await.unwrap();
    }
}

#[tokio::test]
async fn metrics_count_the_bytes_of_each_direction() {
    let api = Api::start().await;
    let upstream = echo().await;
    let listen = api.proxy("p", &upstream).await;
    let mut stream = TcpStream::connect(&listen).await.unwrap();
    through(&mut stream, b"hello").await.unwrap();
    let metrics = api.raw("GET", "/metrics", "").await.text;
    for (name, direction) in [
        ("received", "upstream"),
        ("sent", "upstream"),
        ("received", "downstream"),
        ("sent", "downstream"),
    ] {
        let line = format!(
            "toxiproxy_proxy_{name}_bytes_total{{direction=\"{direction}\",listener=\"{listen}\",\
             proxy=\"p\",upstream=\"{upstream}\"}} 5\n"
        );
        assert!(metrics.contains(&line), "no {line} in\n{metrics}");
    }
}
