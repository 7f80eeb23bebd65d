//! Clerk's tokens and published keys, as our authorizer takes them.

use reqwest::{Client, Response, Url, redirect::Policy};
use serde_json::{Value, json};
use shared::{
    identity::token::{TokenError, Verifier},
    lambda::Env,
};

use crate::emulator::Emulator;

const SECRET: &str = "clerk-secret";
const USER: &str = "user_ada";
const CLIENT: &str = "tidegate";
const BACK: &str = "http://127.0.0.1:9/back";

struct Clerk {
    emulator: Emulator,
    http: Client,
}

impl Clerk {
    async fn start() -> Self {
        let seed = json!({
            "tokens": {SECRET: {"login": "admin", "scopes": []}},
            "clerk": {
                "users": [{"clerk_id": USER, "email_addresses": ["ada@acme.example"]}],
                "oauth_applications": [{
                    "name": "Tidegate", "client_id": CLIENT, "public": true, "redirect_uris": [BACK],
                }],
            },
        });
        let http = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { emulator: Emulator::start("clerk", &seed).await, http }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.emulator.url)
    }

    async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let encoded = Url::parse_with_params("http://form.example", fields).unwrap();
        let post = self.http.post(self.url(path)).header("content-type", "application/x-www-form-urlencoded");
        post.body(encoded.query().unwrap().to_owned()).send().await.unwrap()
    }

    /// What signing in by a browser ends with.
    async fn id_token(&self) -> String {
        let form = [("user_ref", USER), ("redirect_uri", BACK), ("client_id", CLIENT), ("scope", "openid")];
        let back = self.post_form("/oauth/authorize/callback", &form).await;
        let location = back.headers().get("location").expect("a way back").to_str().unwrap().to_owned();
        let code = location.split_once("code=").unwrap().1.split('&').next().unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", CLIENT),
            ("redirect_uri", BACK),
        ];
        let sold = self.post_form("/oauth/token", &form).await;
        let sold: Value = sold.json().await.unwrap();
        sold["id_token"].as_str().unwrap_or_else(|| panic!("{sold}")).to_owned()
    }

    /// A session's own token, which names no audience.
    async fn session_token(&self) -> String {
        let post = |path: String, body: Value| async move {
            let sent = self.http.post(self.url(&path)).bearer_auth(SECRET).json(&body).send().await.unwrap();
            sent.json::<Value>().await.unwrap()
        };
        let session = post("/v1/sessions".to_owned(), json!({"user_id": USER})).await;
        let id = session["id"].as_str().unwrap_or_else(|| panic!("{session}"));
        let token = post(format!("/v1/sessions/{id}/tokens"), json!({})).await;
        token["jwt"].as_str().unwrap_or_else(|| panic!("{token}")).to_owned()
    }

    async fn verifier(&self, audience: &str) -> Verifier {
        let known: Value = self
            .http
            .get(self.url("/.well-known/openid-configuration"))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let environment = Env::of([
            ("OIDC_ISSUER", known["issuer"].as_str().unwrap().to_owned()),
            ("OIDC_JWKS_URL", self.url("/v1/jwks")),
            ("OIDC_AUDIENCES", audience.to_owned()),
            ("WORKSPACE_CLAIM", "sub".to_owned()),
            ("ROLE_CLAIM", "org_role".to_owned()),
        ]);
        Verifier::load(&environment).unwrap()
    }
}

#[tokio::test]
async fn a_token_establishes_its_person_by_the_published_keys() {
    let clerk = Clerk::start().await;
    let token = clerk.id_token().await;
    let person = clerk.verifier(CLIENT).await.verify(&format!("Bearer {token}")).await.unwrap();
    assert_eq!((person.subject.as_str(), person.workspace.to_string().as_str()), (USER, USER));
}

#[tokio::test]
async fn a_token_of_the_same_issuer_is_refused_when_it_is_not_ours() {
    let clerk = Clerk::start().await;
    let (token, session) = (clerk.id_token().await, clerk.session_token().await);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    for (case, audience, token, reason) in [
        ("another audience", "other", &token, "not made for this service"),
        ("no audience", CLIENT, &session, "not made for this service"),
        ("another signature", CLIENT, &forged, "wrong signature"),
    ] {
        let refused = clerk.verifier(audience).await.verify(&format!("Bearer {token}")).await;
        assert!(matches!(refused, Err(TokenError::Refused(why)) if why == reason), "{case}: {refused:?}");
    }
}
