//! A provider on this machine that answers as it is told, badly on purpose.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{HeaderMap, Response},
};
use futures::stream;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// A call as it arrived.
#[derive(Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: HashMap<String, String>,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    /// A header, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A field of a form that was sent.
    pub fn form(&self, name: &str) -> String {
        let mut fields = form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(field, _)| field == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    /// All that the caller sent, as a careless provider repeats it in an error.
    pub fn everything(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let fields =
            form_urlencoded::parse(self.body.as_bytes()).map(|(name, value)| format!("{name}={value}"));
        let query = self.query.iter().map(|(name, value)| format!("{name}={value}"));
        headers.chain(fields).chain(query).collect::<Vec<_>>().join(" ")
    }
}

/// What the fake does with a call.
#[derive(Clone)]
pub enum Reply {
    /// An answer as it should be, of this status.
    Json(u16, Value),
    /// JSON with further headers.
    With(u16, Vec<(&'static str, String)>, Value),
    /// A body of this type.
    Raw(u16, &'static str, String),
    /// Nothing, ever.
    Hang,
    /// The rest comes after this time.
    Late(Duration, Box<Reply>),
    /// Promises more than it sends.
    Truncated,
    /// A body without an end.
    Endless,
    /// A byte now and then.
    Dripping,
    /// Somewhere else.
    Redirect(String),
}

/// What a fake does with the call of this number, counted from 0.
type Script = Box<dyn Fn(usize, &Seen) -> Reply + Send>;

/// A running fake; ends when dropped.
pub struct Fake {
    pub url: String,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// Starts a fake that answers its calls by `script`.
    pub async fn start(script: impl Fn(usize, &Seen) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicUsize::new(0));
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let (calls, bytes, told) = (seen.clone(), sent.clone(), script.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (calls, bytes, told) = (calls.clone(), bytes.clone(), told.clone());
            async move {
                let call = read(request).await;
                let reply = {
                    let mut calls: std::sync::MutexGuard<'_, Vec<Seen>> = calls.lock().unwrap();
                    calls.push(call.clone());
                    (told.lock().unwrap())(calls.len() - 1, &call)
                };
                answer(reply, bytes).await
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, script, seen, sent, server }
    }

    /// Begins anew by another script.
    pub fn follow(&self, script: impl Fn(usize, &Seen) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
        self.seen.lock().unwrap().clear();
        self.sent.store(0, Ordering::Relaxed);
    }

    /// The calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Bytes that an endless answer got rid of.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

async fn read(request: Request) -> Seen {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let query = parts.uri.query().unwrap_or_default();
    Seen {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn answer(mut reply: Reply, sent: Arc<AtomicUsize>) -> Response<Body> {
    while let Reply::Late(wait, then) = reply {
        tokio::time::sleep(wait).await;
        reply = *then;
    }
    let json = Response::builder().header("content-type", "application/json; charset=utf-8");
    let response = match reply {
        Reply::Json(status, body) => json.status(status).body(Body::from(body.to_string())),
        Reply::With(status, headers, body) => headers
            .into_iter()
            .fold(json.status(status), |response, (name, value)| response.header(name, value))
            .body(Body::from(body.to_string())),
        Reply::Raw(status, kind, body) => {
            Response::builder().status(status).header("content-type", kind).body(Body::from(body))
        }
        Reply::Hang | Reply::Late(..) => std::future::pending().await,
        Reply::Truncated => {
            let parts = [Ok(Bytes::from_static(b"{\"id\":")), Err(std::io::Error::other("gone"))];
            json.header("content-length", "1000").body(Body::from_stream(stream::iter(parts)))
        }
        Reply::Endless => json.body(Body::from_stream(stream::repeat_with(move || {
            let chunk = Bytes::from_static(&[b' '; 16 * 1024]);
            sent.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok::<_, Infallible>(chunk)
        }))),
        Reply::Dripping => json.body(Body::from_stream(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
        }))),
        Reply::Redirect(to) => json.status(307).header("location", to).body(Body::from("{}")),
    };
    response.unwrap()
}
