//! What can be told of a credential before anybody is asked, and how it is kept.

use serde_json::{Value, json};
use shared::providers::{Credential, Provider};

use crate::{credential, subjects};

fn faults(provider: Provider, value: Value) -> Vec<(String, String)> {
    let errors = Credential::parse(provider, "credential.", value).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.field, error.message)).collect()
}

/// Each is refused with one fault, of this field, which says this and not the secret.
fn refuses<const N: usize>(provider: Provider, cases: [(&str, Value, &str, &str); N]) {
    for (case, value, field, says) in cases {
        let faults = faults(provider, value);
        let found = faults.iter().any(|(name, message)| name == field && message.contains(says));
        assert!(found && faults.len() == 1, "{case}: {faults:?}");
        let shown = format!("{faults:?}");
        assert!(!shown.contains(&secret()), "{case} repeats the secret: {shown}");
    }
}

fn secret() -> String {
    "0".repeat(32)
}

#[test]
fn what_cannot_be_a_google_credential_is_refused_by_field() {
    let account = subjects::all()[0].credential["service_account"].clone();
    let changed = |name: &str, value: Value| {
        let mut account = account.clone();
        account[name] = value;
        json!({"service_account": account})
    };
    let whole = "credential.service_account";
    refuses(
        Provider::Google,
        [
            ("nothing", json!({}), whole, "required"),
            ("another kind of account", changed("type", json!("external_account")), whole, "type must be"),
            ("no key", changed("private_key", json!("none")), whole, "private_key must be"),
            ("no e-mail address", changed("client_email", json!(7)), whole, "client_email must be"),
            ("text that is no JSON", json!({"service_account": "{"}), whole, "JSON"),
        ],
    );
    let text = json!({"service_account": account.to_string()});
    assert!(Credential::parse(Provider::Google, "credential", text).is_ok(), "the file's text");

    let property = |id: Value| json!({"service_account": account, "property_id": id});
    let field = "credential.property_id";
    refuses(
        Provider::Ga4,
        [
            ("measurement id", property(json!("G-ABCDEF1234")), field, "G-"),
            ("prefixed id", property(json!("GA4-123456")), field, "number"),
            ("resource name", property(json!("properties/123")), field, "number"),
            ("another path", property(json!("1/../2")), field, "number"),
            ("no property", property(json!(0)), field, "number"),
            ("a fraction", property(json!(1.5)), field, "number"),
        ],
    );
}

#[test]
fn what_cannot_be_a_shop_is_refused_by_field() {
    let shop = |name: &str| json!({"shop": name, "access_token": format!("shpat_{}", secret())});
    let token = |token: String| json!({"shop": "a.myshopify.com", "access_token": token});
    let (name, access) = ("credential.shop", "credential.access_token");
    refuses(
        Provider::Shopify,
        [
            ("elsewhere", shop("evil.example"), name, "myshopify.com"),
            ("a path", shop("evil.example/acme.myshopify.com"), name, "myshopify.com"),
            ("a user", shop("x@evil.myshopify.com"), name, "myshopify.com"),
            ("below a shop", shop("a.b.myshopify.com"), name, "myshopify.com"),
            ("two lines", shop("evil\n.myshopify.com"), name, "myshopify.com"),
            ("a URL", shop("https://acme.myshopify.com"), name, "without https"),
            ("no shop", shop(".myshopify.com"), name, "myshopify.com"),
            ("no access", json!({"shop": "a.myshopify.com"}), access, "client_id"),
            (
                "half an app",
                json!({"shop": "a.myshopify.com", "client_id": secret()}),
                access,
                "client_secret",
            ),
            ("secret for a token", token(format!("shpss_{}", secret())), access, "client_secret"),
        ],
    );
}

#[test]
fn what_cannot_be_a_token_or_key_is_refused_by_field() {
    let token = |token: String| json!({"access_token": token});
    let app = |app: String| json!({"access_token": "E".repeat(40), "app_secret": app});
    refuses(
        Provider::Meta,
        [
            (
                "app's token",
                token(format!("123456789|{}", secret())),
                "credential.access_token",
                "app's token",
            ),
            (
                "token with its scheme",
                token(format!("Bearer {}", secret())),
                "credential.access_token",
                "ASCII",
            ),
            ("short app secret", app("abc".to_owned()), "credential.app_secret", "32"),
            ("app secret of other letters", app("z".repeat(32)), "credential.app_secret", "hexadecimal"),
        ],
    );
    let key = |kind: &str| json!({"api_key": format!("{kind}_{}", secret())});
    let more = json!({"api_key": format!("sk_test_{}", secret()), "more": 1});
    let huge = json!({"api_key": format!("sk_test_{}", "0".repeat(1 << 20))});
    refuses(
        Provider::Stripe,
        [
            ("not an object", json!("sk"), "credential", "object"),
            ("one more", more, "credential.more", "not a known"),
            ("publishable key", key("pk_live"), "credential.api_key", "publishable"),
            ("webhook secret", key("whsec"), "credential.api_key", "sk_live_"),
            ("key of no mode", key("sk_prod"), "credential.api_key", "sk_live_"),
            ("huge", huge, "credential.api_key", "255"),
        ],
    );
}

#[test]
fn all_that_is_wrong_is_named_at_once() {
    let named = faults(Provider::Shopify, json!({"shop": 1, "access_token": "x", "extra": 1}));
    let named: Vec<_> = named.into_iter().map(|(field, _)| field).collect();
    for field in ["credential.shop", "credential.access_token", "credential.extra"] {
        assert!(named.iter().any(|name| name == field), "{field}: {named:?}");
    }
    let named = faults(Provider::Google, json!({"service_account": {"type": "user"}}));
    for part in ["type", "client_email", "private_key"] {
        assert!(named[0].1.contains(part), "{part}: {named:?}");
    }
}

#[test]
fn what_was_exposed_is_restored_and_nothing_secret_is_shown() {
    for subject in subjects::all() {
        let first = credential(&subject);
        let plaintext = first.expose();
        let again = Credential::restore(subject.provider, &plaintext).unwrap();
        assert_eq!(*again.expose(), *plaintext, "{}", subject.name);
        let mask = Value::Object(first.mask()).to_string();
        for secret in &subject.secrets {
            let (head, tail) = secret.split_at(secret.len() - 5);
            assert!(
                !mask.contains(tail) && !mask.contains(&head[..head.len().min(12)]),
                "{}: {mask}",
                subject.name
            );
        }
        let junk = &plaintext[..plaintext.len() / 2];
        assert!(Credential::restore(subject.provider, junk).is_err(), "{}", subject.name);
    }
}

#[test]
fn a_mask_tells_one_credential_from_another() {
    let digits = "0123456789abcdef0123456789ab7f3a";
    let account = subjects::all()[0].credential.clone();
    for (case, provider, value, field, mask) in [
        (
            "permanent token",
            Provider::Shopify,
            json!({"shop": "a.myshopify.com", "access_token": format!("shpat_{digits}")}),
            "/access_token",
            "shpat_…7f3a",
        ),
        (
            "plain field",
            Provider::Shopify,
            json!({"shop": "a.myshopify.com", "access_token": format!("shpat_{digits}")}),
            "/shop",
            "a.myshopify.com",
        ),
        (
            "restricted key",
            Provider::Stripe,
            json!({"api_key": format!("rk_live_{digits}")}),
            "/api_key",
            "rk_live_…7f3a",
        ),
        ("short token", Provider::Meta, json!({"access_token": &digits[..20]}), "/access_token", "…"),
        ("private key", Provider::Google, account.clone(), "/service_account/private_key", "…"),
        (
            "who the key is of",
            Provider::Google,
            account,
            "/service_account/client_email",
            "tidegate@project.iam.gserviceaccount.example",
        ),
    ] {
        let shown = Value::Object(Credential::parse(provider, "credential", value).ok().unwrap().mask());
        assert_eq!(shown.pointer(field), Some(&json!(mask)), "{case}: {shown}");
    }
}

#[test]
fn a_patch_replaces_what_it_names_and_keeps_the_rest() {
    let plain = |credential: &Credential| -> Value { serde_json::from_slice(&credential.expose()).unwrap() };
    let token = format!("shpat_{}", "0".repeat(32));
    let value = json!({"shop": "a.myshopify.com", "access_token": token});
    let shop = Credential::parse(Provider::Shopify, "credential", value).ok().unwrap();

    let moved = shop.patched("credential", json!({"shop": "b.myshopify.com"})).ok().unwrap();
    assert_eq!(plain(&moved), json!({"shop": "b.myshopify.com", "access_token": token}));

    let app = json!({"access_token": null, "client_id": "1".repeat(32), "client_secret": "2".repeat(32)});
    let app = shop.patched("credential", app).ok().unwrap();
    assert_eq!(plain(&app)["client_id"], "1".repeat(32));
    assert_eq!(plain(&app).get("access_token"), None);

    for (case, patch, field) in [
        ("bad field", json!({"shop": "evil.example"}), "credential.shop"),
        ("unknown field", json!({"port": 1}), "credential.port"),
        ("taken away", json!({"access_token": null}), "credential.access_token"),
        ("no object", json!([]), "credential"),
    ] {
        let errors = shop.patched("credential.", patch).err().unwrap();
        assert_eq!(errors[0].field, field, "{case}: {errors:?}");
    }
}

#[test]
fn what_cannot_be_a_github_app_is_refused_by_field() {
    let key = &subjects::github::KEYS[0];
    let app = |app: Value, installation: Value, key: &str| json!({"app_id": app, "installation_id": installation, "private_key": key});
    let private_key = "credential.private_key";
    let half = &key[..key.len() / 2];
    let public = key.replace("RSA PRIVATE", "PUBLIC");
    refuses(
        Provider::Github,
        [
            ("a path", app(json!("7/../8"), json!(42), key), "credential.app_id", "number"),
            ("no number", app(json!(7), json!("4 2"), key), "credential.installation_id", "number"),
            ("none", app(json!(7), json!(0), key), "credential.installation_id", "number"),
            ("half a key", app(json!(7), json!(42), half), private_key, "PEM"),
            ("a public key", app(json!(7), json!(42), &public), private_key, "PEM"),
            ("another secret", app(json!(7), json!(42), &secret()), private_key, "PEM"),
        ],
    );
}

#[test]
fn what_cannot_be_a_supabase_project_is_refused_by_field() {
    use subjects::supabase::{PROJECT, token};
    let project = |url: &str, key: &str| json!({"url": url, "service_key": key});
    let good = format!("sb_secret_{}", secret());
    let home = format!("https://{PROJECT}.supabase.co");
    let (url, key) = ("credential.url", "credential.service_key");
    refuses(
        Provider::Supabase,
        [
            ("in the clear", project(&home.replace("https", "http"), &good), url, "https://"),
            ("elsewhere", project("https://evil.example", &good), url, "https://"),
            ("looks alike", project(&format!("{home}.evil.example"), &good), url, "https://"),
            (
                "a user before it",
                project(&format!("https://evil@{PROJECT}.supabase.co"), &good),
                url,
                "https://",
            ),
            ("a path", project(&format!("{home}/rest/v1"), &good), url, "https://"),
            ("a port", project(&format!("{home}:8443"), &good), url, "https://"),
            ("a name", project("https://acme.supabase.co", &good), url, "https://"),
            ("for browsers", project(&home, &format!("sb_publishable_{}", secret())), key, "publishable"),
            ("for browsers, the older", project(&home, &token(PROJECT, "anon")), key, "service_role"),
            ("of another project", project(&home, &token(&"z".repeat(20), "service_role")), key, "another"),
            ("no key", project(&home, &secret()), key, "sb_secret_"),
        ],
    );
}

#[test]
fn what_cannot_be_a_mail_server_is_refused_by_field() {
    let changed = |name: &str, value: Value| {
        let mut smtp = json!({
            "host": "smtp.acme.example", "port": 465, "username": "ada", "password": secret(),
            "from": "billing@acme.example",
        });
        smtp[name] = value;
        smtp
    };
    let (host, port, from) = ("credential.host", "credential.port", "credential.from");
    let mut sendgrid = changed("host", json!("smtp.sendgrid.net"));
    refuses(
        Provider::Smtp,
        [
            ("an address", changed("host", json!("169.254.169.254")), host, "host name"),
            ("an address of v6", changed("host", json!("[::1]")), host, "host name"),
            ("an address as one number", changed("host", json!("2130706433")), host, "host name"),
            ("this machine", changed("host", json!("localhost")), host, "host name"),
            ("with its port", changed("host", json!("smtp.acme.example:25")), host, "host name"),
            ("a URL", changed("host", json!("smtp://acme.example")), host, "host name"),
            ("two lines", changed("host", json!("a.example\r\nQUIT")), host, "host name"),
            ("a database's port", changed("port", json!(6379)), port, "465"),
            ("no port", changed("port", json!(0)), port, "from 1"),
            ("no address", changed("from", json!("billing")), from, "e-mail"),
            ("two commands", changed("from", json!("a@b.example>\r\nRCPT TO:<c@d.example")), from, "e-mail"),
            ("letters of another script", changed("from", json!("ü@acme.example")), from, "e-mail"),
            ("two lines of password", changed("password", json!("a\r\nb")), "credential.password", "text"),
            ("SendGrid by another name", sendgrid.clone(), "credential.username", "apikey"),
        ],
    );
    sendgrid["username"] = json!("apikey");
    assert!(Credential::parse(Provider::Smtp, "credential", sendgrid).is_ok(), "SendGrid by its word");
    let spaced =
        Credential::parse(Provider::Smtp, "credential", changed("password", json!("abcd efgh ijkl mnop")));
    let shown = Value::Object(spaced.ok().unwrap().mask());
    assert_eq!((&shown["password"], &shown["port"]), (&json!("…"), &json!(465)), "{shown}");
}

#[test]
fn what_cannot_be_a_twilio_account_is_refused_by_field() {
    let account = |sid: &str, token: &str| json!({"account_sid": sid, "auth_token": token});
    let (sid, token) = ("credential.account_sid", "credential.auth_token");
    let good = format!("AC{}", "1".repeat(32));
    refuses(
        Provider::Twilio,
        [
            ("an API key", account(&good.replace("AC", "SK"), &secret()), sid, "API key"),
            ("too short", account("AC1", &secret()), sid, "32"),
            ("a path", account(&format!("AC{}", "../".repeat(11)), &secret()), sid, "32"),
            ("a short token", account(&good, &secret()[1..]), token, "32"),
            ("other letters", account(&good, &"z".repeat(32)), token, "hexadecimal"),
        ],
    );
}
