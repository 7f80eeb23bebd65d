//! What providers publish, in their documents or in the tests of their libraries.

use super::*;

struct Vector {
    case: &'static str,
    scheme: Scheme,
    secret: &'static str,
    headers: &'static [(&'static str, &'static str)],
    url: &'static str,
    body: &'static str,
    /// When it was signed, where that is part of it.
    at: i64,
}

const SHOPIFY: &str = r#"{"id":820982911946154508,"total_price":"254.98","currency":"USD"}"#;
const TWILIO: &str =
    "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
const TWILIO_URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

const VECTORS: [Vector; 10] = [
    Vector {
        case: "Stripe",
        scheme: Scheme::Stripe,
        secret: "whsec_test_secret",
        headers: &[(
            "stripe-signature",
            "t=1700000000,v1=d95c6b7477fbd7e9f90b1b0ef5f9c7ac25abca5382460e0d988c2b2a5b71b990",
        )],
        url: URL,
        body: r#"{"id":"evt_test_webhook","object":"event"}"#,
        at: 1_700_000_000,
    },
    Vector {
        case: "GitHub",
        scheme: Scheme::Github,
        secret: "It's a Secret to Everybody",
        headers: &[(
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        )],
        url: URL,
        body: "Hello, World!",
        at: 0,
    },
    Vector {
        case: "Meta, which signs as GitHub does",
        scheme: Scheme::Github,
        secret: "app_secret",
        headers: &[(
            "x-hub-signature-256",
            "sha256=22d3988d1017c437ea81a89d41e2d3266c00a508cffdb23f8ad8746d232d77e9",
        )],
        url: URL,
        body: r#"{"object":"page","entry":[]}"#,
        at: 0,
    },
    Vector {
        case: "Shopify",
        scheme: Scheme::Shopify,
        secret: "hush",
        headers: &[("x-shopify-hmac-sha256", "2+cbC23Y5VPXKK/CErqE+uw2JjADgRwwWX5AnSPqiJ8=")],
        url: URL,
        body: SHOPIFY,
        at: 0,
    },
    Vector {
        case: "Shopify Events",
        scheme: Scheme::Shopify,
        secret: "hush",
        headers: &[("shopify-hmac-sha256", "2+cbC23Y5VPXKK/CErqE+uw2JjADgRwwWX5AnSPqiJ8=")],
        url: URL,
        body: SHOPIFY,
        at: 0,
    },
    Vector {
        case: "Standard Webhooks",
        scheme: Scheme::StandardWebhooks,
        secret: "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        headers: &[
            ("webhook-id", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk"),
            ("webhook-timestamp", "1649367553"),
            ("webhook-signature", "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="),
        ],
        url: URL,
        body: r#"{"email":"test@example.com","username":"test_user"}"#,
        at: 1_649_367_553,
    },
    Vector {
        case: "Svix",
        scheme: Scheme::StandardWebhooks,
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        headers: &[
            ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("svix-timestamp", "1614265330"),
            ("svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        url: URL,
        body: r#"{"test": 2432232314}"#,
        at: 1_614_265_330,
    },
    Vector {
        case: "Twilio",
        scheme: Scheme::Twilio { algorithm: TwilioAlgorithm::Sha1 },
        secret: "12345",
        headers: &[("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")],
        url: TWILIO_URL,
        body: TWILIO,
        at: 0,
    },
    Vector {
        case: "Twilio, under a shared key",
        scheme: Scheme::Twilio { algorithm: TwilioAlgorithm::Sha256 },
        secret: "12345",
        headers: &[("x-twilio-signature", "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=")],
        url: TWILIO_URL,
        body: TWILIO,
        at: 0,
    },
    Vector {
        case: "SendGrid, with the line break that is part of the body",
        scheme: Scheme::Sendgrid,
        secret: "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
        headers: &[
            (
                "x-twilio-email-event-webhook-signature",
                "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
            ),
            ("x-twilio-email-event-webhook-timestamp", "1600112502"),
        ],
        url: URL,
        body: "[{\"email\":\"hello@world.com\",\"event\":\"dropped\",\"reason\":\"Bounced Address\",\
\"sg_event_id\":\"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA\",\
\"sg_message_id\":\"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0\",\
\"smtp-id\":\"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>\",\"timestamp\":1600112492}]\r\n",
        at: 1_600_112_502,
    },
];

#[test]
fn what_providers_publish_is_accepted() {
    for Vector { case, scheme, secret, headers: pairs, url, body, at: then } in VECTORS {
        let headers = headers(pairs);
        let incoming = Incoming { headers: &headers, url, body: body.as_bytes() };
        let wrong = SecretString::from("whsec_bm90IHRoZSByaWdodCBrZXkgYXQgYWxs");
        let right = SecretString::from(secret);
        assert_eq!(scheme.verify(&incoming, [&wrong, &right], at(then)), Ok(()), "{case}");
        assert_eq!(scheme.verify(&incoming, [&wrong], at(then)), Err(Cause::Mismatch.into()), "{case}");
        assert_eq!(scheme.verify(&incoming, [], at(then)), Err(Cause::Mismatch.into()), "{case}");
    }
}
