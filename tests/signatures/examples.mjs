// All payloads of @octokit/webhooks-examples, signed as GitHub does with a fresh secret.
//
//   node examples.mjs        one a line: secret, event, headers, body in base64

import { randomBytes, randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import { sign } from "@octokit/webhooks-methods";

const events = createRequire(import.meta.url)("@octokit/webhooks-examples/api.github.com/index.json");
const secret = randomBytes(20).toString("hex");

for (const { name, examples } of events) {
  for (const example of examples) {
    const body = JSON.stringify(example);
    const headers = {
      "content-type": "application/json",
      "user-agent": "GitHub-Hookshot/0000000",
      "x-github-delivery": randomUUID(),
      "x-github-event": name,
      "x-hub-signature-256": await sign(secret, body),
    };
    console.log(JSON.stringify({ secret, event: name, headers, body: Buffer.from(body).toString("base64") }));
  }
}
