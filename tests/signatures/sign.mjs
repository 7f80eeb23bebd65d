// Deliveries that the providers' own libraries sign, each with a fresh secret.
//
//   node sign.mjs        one a line: maker, scheme, secret, url, headers, body in base64

import { randomBytes } from "node:crypto";
import { sign as githubSign, verify as githubVerify } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/web-api";
import { ApiVersion, shopifyApi } from "@shopify/shopify-api";
import { createSHA256HMAC } from "@shopify/shopify-api/runtime";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";

const URL = "https://hooks.example.com/webhooks/receive/signed";
const BODIES = [
  "{}",
  '{"id":"evt_1","object":"event","type":"invoice.paid"}',
  JSON.stringify({ name: "Zoë 🦀", list: [1, 2.5, null, true], nested: { empty: {} } }, null, 2),
  '{"id": 820982911946154508, "total_price": "254.98"}\n',
  JSON.stringify({ text: "x".repeat(50_000) }),
];

const random = (bytes) => randomBytes(bytes).toString("base64url");

function tell(maker, scheme, secret, headers, body) {
  const delivery = { maker, scheme: { scheme }, secret, url: URL, headers, body: Buffer.from(body).toString("base64") };
  console.log(JSON.stringify(delivery));
}

// What a library made, it must take itself: else the tests would show nothing.
function insist(good, maker) {
  if (!good) throw new Error(`${maker} refuses what it signed`);
}

for (const body of BODIES) {
  const signing = `whsec_${random(24)}`;
  const header = Stripe.webhooks.generateTestHeaderString({ payload: body, secret: signing });
  insist(Stripe.webhooks.signature.verifyHeader(body, header, signing, 300), "stripe");
  tell("npm stripe", "stripe", signing, { "stripe-signature": header }, body);

  const github = random(20);
  const signature = await githubSign(github, body);
  insist(await githubVerify(github, body, signature), "github");
  tell("npm @octokit/webhooks-methods", "github", github, { "x-hub-signature-256": signature }, body);

  const client = random(16);
  const hmac = await createSHA256HMAC(client, body);
  const shopify = shopifyApi({
    apiKey: "key",
    apiSecretKey: client,
    apiVersion: ApiVersion.July26,
    hostName: "hooks.example.com",
    isEmbeddedApp: false,
    logger: { level: 0 },
  });
  const headers = {
    "x-shopify-hmac-sha256": hmac,
    "x-shopify-topic": "orders/create",
    "x-shopify-shop-domain": "shop.myshopify.com",
    "x-shopify-api-version": ApiVersion.July26,
    "x-shopify-webhook-id": random(16),
  };
  const rawRequest = new Request(URL, { method: "POST", headers, body });
  insist((await shopify.webhooks.validate({ rawBody: body, rawRequest })).valid, "shopify");
  tell("npm @shopify/shopify-api", "shopify", client, headers, body);
  tell("npm @shopify/shopify-api, Events", "shopify", client, { "shopify-hmac-sha256": hmac }, body);

  const standard = `whsec_${randomBytes(24).toString("base64")}`;
  const [id, now] = [`msg_${random(12)}`, new Date()];
  const signed = new Webhook(standard).sign(id, now, body);
  const timestamp = String(Math.floor(now / 1000));
  for (const family of ["webhook", "svix"]) {
    const headers = { [`${family}-id`]: id, [`${family}-timestamp`]: timestamp, [`${family}-signature`]: signed };
    if (family === "webhook") insist(new Webhook(standard).verify(body, headers), "standardwebhooks");
    tell(`npm standardwebhooks, ${family}`, "standard-webhooks", standard, headers, body);
  }
}
