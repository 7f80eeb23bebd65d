//! The HTTP front against what API Gateway documents and does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should end")]

mod common;

use std::time::{Duration, Instant};

use common::{raw, seen, send, start};
use serde_json::{Value, json};

/// What differs from call to call, replaced by what it must look like.
fn redacted(mut event: Value) -> Value {
    let context = &mut event["requestContext"];
    for (name, like) in [
        ("requestId", r"^[A-Za-z0-9]{15}=$"),
        ("time", r"^\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} \+0000$"),
        ("timeEpoch", r"^\d{13}$"),
    ] {
        let text = context[name].as_str().map_or_else(|| context[name].to_string(), str::to_owned);
        assert!(regex_lite::Regex::new(like).unwrap().is_match(&text), "{name}: {text}");
        context[name] = like.into();
    }
    let trace = r"^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$";
    let found = event["headers"]["x-amzn-trace-id"].as_str().unwrap();
    assert!(regex_lite::Regex::new(trace).unwrap().is_match(found), "{found}");
    event["headers"]["x-amzn-trace-id"] = trace.into();
    event
}

#[tokio::test]
async fn a_function_gets_the_documented_event() {
    let running = start("event").await;
    let request = b"POST /echo/a%20b%2Bc?q=1&q=two%20words&flag HTTP/1.1\r\n\
        Host: api.example:8443\r\nConnection: close\r\nUser-Agent: probe/1\r\n\
        X-Twice: one\r\nx-twice: two\r\nCookie: a=1; b=2\r\nCookie: c=3\r\n\
        X-Forwarded-For: 9.9.9.9\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}";
    let answer = raw(&running.runner.running.url, request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        redacted(answer.json()),
        json!({
            "version": "2.0",
            "routeKey": "ANY /echo/{id}",
            "rawPath": "/echo/a b+c",
            "rawQueryString": "q=1&q=two%20words&flag",
            "cookies": ["a=1", "b=2", "c=3"],
            "headers": {
                "connection": "close",
                "content-length": "8",
                "content-type": "application/json",
                "host": "api.example:8443",
                "user-agent": "probe/1",
                "x-amzn-trace-id": r"^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-port": "8443",
                "x-forwarded-proto": "http",
                "x-twice": "one,two",
            },
            "queryStringParameters": {"q": "1,two words", "flag": ""},
            "pathParameters": {"id": "a b+c"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "tidegate",
                "domainName": "api.example:8443",
                "domainPrefix": "api",
                "http": {
                    "method": "POST",
                    "path": "/echo/a b+c",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "probe/1",
                },
                "requestId": r"^[A-Za-z0-9]{15}=$",
                "routeKey": "ANY /echo/{id}",
                "stage": "$default",
                "time": r"^\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2} \+0000$",
                "timeEpoch": r"^\d{13}$",
            },
            "body": "{\"a\": 1}",
            "isBase64Encoded": false,
        })
    );
    running.runner.stop().await;
}

#[tokio::test]
async fn bodies_that_are_not_text_arrive_in_base64() {
    let running = start("bodies").await;
    for (content_type, body, arrives, base64) in [
        ("application/json", &b"{}"[..], "{}", false),
        ("application/json; charset=utf-8", b"{}", "{}", false),
        ("text/plain", b"a", "a", false),
        ("application/xml", b"<a/>", "<a/>", false),
        ("application/x-www-form-urlencoded", b"a=b", "YT1i", true),
        ("application/octet-stream", b"\x00\xff", "AP8=", true),
        ("text/plain", b"\xff", "/w==", true),
        ("image/png", b"a", "YQ==", true),
    ] {
        let header = format!("Content-Type: {content_type}");
        let event = send(&running.runner.running.url, "PUT /echo/1", &[&header], body).await.json();
        assert_eq!(
            (&event["body"], &event["isBase64Encoded"]),
            (&json!(arrives), &json!(base64)),
            "{content_type}"
        );
    }
    let event = send(&running.runner.running.url, "DELETE /echo/1", &[], b"").await.json();
    assert_eq!((event.get("body"), &event["isBase64Encoded"]), (None, &json!(false)));
    assert_eq!(event["headers"]["content-length"], "0");
    running.runner.stop().await;
}

#[tokio::test]
async fn routes_match_the_decoded_path() {
    let running = start("paths").await;
    let url = &running.runner.running.url;
    for (line, status, parameters) in [
        ("GET /echo/1/deep/x/y%20z", 200, json!({"id": "1", "rest": "x/y z"})),
        ("GET /echo/%C3%A9", 200, json!({"id": "é"})),
        ("GET /%65cho/1", 200, json!({"id": "1"})),
        ("GET /echo/a%2Fb", 404, Value::Null),
        ("GET /echo/", 404, Value::Null),
        ("GET /echo", 404, Value::Null),
        ("POST /first", 404, Value::Null),
        ("HEAD /first", 404, Value::Null),
        ("OPTIONS /first", 404, Value::Null),
    ] {
        let answer = send(url, line, &[], b"").await;
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        if status == 200 {
            assert_eq!(answer.json()["pathParameters"], parameters, "{line}");
        } else if !line.starts_with("HEAD") {
            assert_eq!(answer.json(), json!({"message": "Not Found"}), "{line}");
        }
    }
    assert_eq!(send(url, "HEAD /echo/1", &[], b"").await.status, 200);
    running.runner.stop().await;
}

#[tokio::test]
async fn answers_become_responses_as_format_2_says() {
    let running = start("answers").await;
    let url = &running.runner.running.url;
    let answer = async |body: Value| {
        send(url, "POST /answer", &["Content-Type: application/json"], body.to_string().as_bytes()).await
    };

    let full = answer(json!({
        "statusCode": 201,
        "headers": {"Content-Type": "text/html", "X-Number": 7, "Content-Length": "999"},
        "cookies": ["a=1; Secure", "b=2"],
        "body": "AP8=",
        "isBase64Encoded": true,
    }))
    .await;
    assert_eq!((full.status, full.body.as_slice()), (201, &[0, 255][..]));
    assert_eq!(full.header("content-type"), Some("text/html"));
    assert_eq!(full.header("x-number"), Some("7"));
    assert_eq!(full.header("content-length"), Some("2"));
    let cookies =
        full.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str());
    assert_eq!(cookies.collect::<Vec<_>>(), ["a=1; Secure", "b=2"]);
    assert!(full.header("apigw-requestid").is_some());

    let plain = answer(json!({"statusCode": 204})).await;
    assert_eq!((plain.status, plain.text().as_str()), (204, ""));
    let inferred = answer(json!({"anything": ["else"]})).await;
    assert_eq!((inferred.status, inferred.json()), (200, json!({"anything": ["else"]})));
    assert_eq!(inferred.header("content-type"), Some("application/json"));

    for (case, unreadable) in [
        ("status is text", json!({"statusCode": "ok"})),
        ("status is none", json!({"statusCode": 99})),
        ("body is an object", json!({"statusCode": 200, "body": {}})),
        ("not base64", json!({"statusCode": 200, "body": "%", "isBase64Encoded": true})),
        ("header with a line break", json!({"statusCode": 200, "headers": {"a": "b\nc"}})),
    ] {
        let answer = answer(unreadable).await;
        assert_eq!(
            (answer.status, answer.json()),
            (500, json!({"message": "Internal Server Error"})),
            "{case}"
        );
    }
    running.runner.stop().await;
}

#[tokio::test]
async fn limits_answer_as_the_gateway_does() {
    let running = start("limits").await;
    let url = &running.runner.running.url;
    let text = "Content-Type: text/plain";
    for (case, line, body, status, message) in [
        ("a function that fails", "POST /answer", "fail", 500, "Internal Server Error"),
        ("a function that panics", "POST /answer", "panic", 500, "Internal Server Error"),
        ("the function's own time", "POST /answer", "slow", 500, "Internal Server Error"),
        ("the gateway's time", "POST /quick", "slow", 503, "Service Unavailable"),
        ("an answer over 6 MB", "POST /answer", "long", 500, "Internal Server Error"),
    ] {
        let answer = send(url, line, &[text], body.as_bytes()).await;
        assert_eq!((answer.status, answer.json()), (status, json!({"message": message})), "{case}");
    }

    let megabytes = |count: usize| vec![b'x'; count * 1024 * 1024];
    let too_large = json!({"message": "Request Entity Too Large"});
    let large = send(url, "PUT /echo/1", &[text], &megabytes(7)).await;
    assert_eq!((large.status, large.json()), (413, too_large.clone()), "over an invocation's 6 MB");
    let large = send(url, "PUT /echo/1", &[text], &megabytes(11)).await;
    assert_eq!((large.status, large.json()), (413, too_large), "over the gateway's 10 MB");

    let long = |length: usize| format!("X-Long: {}", "x".repeat(length));
    assert_eq!(send(url, "GET /echo/1", &[&long(10_000)], b"").await.status, 200);
    assert_eq!(send(url, "GET /echo/1", &[&long(10_240)], b"").await.status, 431);
    let query = format!("GET /echo/1?{}", "x".repeat(10_240));
    assert_eq!(send(url, &query, &[], b"").await.status, 431);

    // None of this kept the runner from serving.
    assert_eq!(send(url, "GET /echo/1", &[], b"").await.status, 200);
    running.runner.stop().await;
}

#[tokio::test]
async fn an_authorizer_is_asked_once_per_identity_and_its_answer_reused_on_every_route() {
    let running = start("authorizer").await;
    let url = &running.runner.running.url;
    let get = async |path: &str, token: &str| {
        let header = format!("x-token: {token}");
        send(url, &format!("GET {path}"), &[&header], b"").await
    };
    let calls = || seen("authorizer", "authorize").len();

    for missing in [&[][..], &["x-token:"]] {
        let answer = send(url, "GET /first", missing, b"").await;
        assert_eq!((answer.status, answer.json()), (401, json!({"message": "Unauthorized"})));
    }
    assert_eq!(calls(), 0, "nobody to ask about");

    let first = get("/first", "yes1").await.json();
    let expected = json!({"lambda": {"token": "yes1", "calls": 1}});
    assert_eq!(first["requestContext"]["authorizer"], expected);
    assert_eq!(
        get("/second", "yes1").await.json()["requestContext"]["authorizer"],
        expected,
        "from the cache"
    );
    assert_eq!(calls(), 1);
    get("/first", "yes2").await;
    assert_eq!(calls(), 2, "another identity is another question");

    for path in ["/first", "/second"] {
        let answer = get(path, "no").await;
        assert_eq!((answer.status, answer.json()), (403, json!({"message": "Forbidden"})), "{path}");
    }
    assert_eq!(calls(), 3, "a refusal is reused too");

    for token in ["fail", "panic", "junk", "slow"] {
        for _ in 0..2 {
            let before = calls();
            let answer = get("/first", token).await;
            assert_eq!(
                (answer.status, answer.json()),
                (500, json!({"message": "Internal Server Error"})),
                "{token}"
            );
            assert_eq!(calls(), before + 1, "a failure is not reused: {token}");
        }
    }

    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = calls();
    get("/first", "yes1").await;
    assert_eq!(calls(), before + 1, "the answer has expired");
    running.runner.stop().await;
}

#[tokio::test]
async fn without_a_lifetime_every_call_asks_and_every_source_must_be_there() {
    let running = start("fresh").await;
    let url = &running.runner.running.url;
    let token = "X-TOKEN: yes";
    for _ in 0..2 {
        assert_eq!(send(url, "GET /fresh?site=a", &[token], b"").await.status, 200);
    }
    let events = seen("fresh", "authorize");
    assert_eq!(events.len(), 2);
    assert_eq!(send(url, "GET /fresh", &[token], b"").await.status, 401);
    assert_eq!(send(url, "GET /fresh?site=", &[token], b"").await.status, 401);

    let event = &events[0];
    for (name, value) in [
        ("version", json!("2.0")),
        ("type", json!("REQUEST")),
        ("routeArn", json!("arn:aws:execute-api:local:000000000000:tidegate/$default/GET/fresh")),
        ("identitySource", json!(["yes", "a"])),
        ("routeKey", json!("GET /fresh")),
        ("rawPath", json!("/fresh")),
        ("rawQueryString", json!("site=a")),
        ("queryStringParameters", json!({"site": "a"})),
    ] {
        assert_eq!(event[name], value, "{name}");
    }
    assert_eq!(event["headers"]["x-token"], "yes");
    assert_eq!(event["requestContext"]["http"]["method"], "GET");
    assert_eq!(event.get("body"), None, "an authorizer gets no body");
    running.runner.stop().await;
}

#[tokio::test]
async fn cors_is_the_templates_and_not_the_functions() {
    let running = start("cors").await;
    let url = &running.runner.running.url;
    let wanted = "Access-Control-Request-Method: POST";
    let preflight = send(url, "OPTIONS /first", &["Origin: https://app.example", wanted], b"").await;
    assert_eq!(preflight.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "authorization,content-type"),
        ("access-control-max-age", "600"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let stranger = send(url, "OPTIONS /first", &["Origin: https://evil.example", wanted], b"").await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (204, None));

    let actual = send(url, "GET /echo/1", &["Origin: https://other.example"], b"").await;
    assert_eq!(actual.header("access-control-allow-origin"), Some("https://other.example"));
    assert_eq!(actual.header("access-control-expose-headers"), Some("etag"));
    // The function says `*`, and that does not count.
    let stranger = send(url, "GET /echo/1", &["Origin: https://evil.example"], b"").await;
    assert_eq!(stranger.header("access-control-allow-origin"), None);
    let refused = send(url, "GET /first", &["Origin: https://app.example"], b"").await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, Some("https://app.example"))
    );
    running.runner.stop().await;
}

#[tokio::test]
async fn stopping_finishes_what_runs() {
    let running = start("stop").await;
    let url = running.runner.running.url.clone();
    let slow =
        tokio::spawn(async move { send(&url, "POST /answer", &["Content-Type: text/plain"], b"slow").await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    running.runner.stop().await;
    assert_eq!(slow.await.unwrap().status, 500, "the function's time ran out, the connection did not");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
