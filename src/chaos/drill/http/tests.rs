//! Requests to a server of a few lines, which says what it was sent.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers each connection in turn with what is given, and gives what it was sent.
async fn server(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut sent = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let whole = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    return false;
                };
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1);
                let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                body.len() >= length.unwrap_or(0)
            };
            while !whole(&bytes) {
                assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
            }
            sent.push(String::from_utf8(bytes).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        sent
    });
    (url, served)
}

fn read(provider: &Value) -> Http {
    Http::read(&At::root(provider), &Variables::default()).unwrap()
}

async fn asked(mut provider: Value, answer: &'static str) -> (Result<Value, Failed>, String) {
    let (url, served) = server(vec![answer]).await;
    provider["type"] = json!("http");
    provider["url"] = json!(format!("{url}/a?b=c"));
    let output = read(&provider).send().await;
    (output, served.await.unwrap().remove(0))
}

#[tokio::test]
async fn an_answer_is_an_output_with_its_headers_as_they_are_spelled() {
    let answer = "HTTP/1.1 418 no\r\nX-One: a\r\nX-Odd-CASE: b\r\nx-one: c\r\nContent-Type: \
                  text/plain\r\ncontent-length: 2\r\n\r\nhi";
    let (output, sent) = asked(json!({"arguments": {"d": "e f", "g": 1}}), answer).await;
    let headers = json!({"X-One": "a, c", "X-Odd-CASE": "b", "Content-Type": "text/plain",
        "content-length": "2"});
    assert_eq!(
        output,
        Ok(json!({"status": 418, "headers": headers, "body": "hi"}))
    );
    assert!(
        sent.starts_with("GET /a?b=c&d=e+f&g=1 HTTP/1.1\r\n"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_body_is_a_form_unless_the_header_says_json_and_json_is_read_when_it_says_so() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n\
                  {\"a\": 1}";
    let post = json!({"method": "post", "arguments": {"a": [1, true]}});
    let (output, sent) = asked(post.clone(), answer).await;
    assert_eq!(output.unwrap()["body"], json!({"a": 1}));
    assert!(
        sent.to_lowercase()
            .contains("content-type: application/x-www-form-urlencoded")
    );
    assert!(sent.ends_with("\r\n\r\na=1&a=True"), "{sent}");
    let mut typed = post;
    typed["headers"] = json!({"Content-Type": "application/json"});
    let (_, sent) = asked(typed, answer).await;
    assert!(sent.ends_with("\r\n\r\n{\"a\":[1,true]}"), "{sent}");
    let garbled = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{";
    let (output, _) = asked(json!({}), garbled).await;
    assert!(matches!(output, Err(Failed::Aborts(_))), "{output:?}");
}

#[tokio::test]
async fn nobody_there_and_no_answer_in_time_are_failures_and_a_redirect_is_followed() {
    let (url, served) = server(vec![]).await;
    served.await.unwrap();
    let provider = json!({"type": "http", "url": url, "max_retries": 2});
    let failed = read(&provider).send().await.unwrap_err();
    assert!(
        failed
            .why()
            .starts_with("failed to connect to http://127.0.0.1:"),
        "{failed:?}"
    );
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let provider = json!({"type": "http", "url": url, "timeout": [10, 0.05]});
    let failed = read(&provider).send().await;
    let text = "activity took too long to complete".to_owned();
    assert_eq!(failed, Err(Failed::Step(text)));
    let on = "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n";
    let there = "HTTP/1.1 204 No Content\r\n\r\n";
    let (url, served) = server(vec![on, there]).await;
    let provider = json!({"type": "http", "url": url, "method": "POST", "arguments": "x"});
    assert_eq!(read(&provider).send().await.unwrap()["status"], 204);
    assert!(served.await.unwrap()[1].starts_with("GET /b HTTP/1.1\r\n"));
}
