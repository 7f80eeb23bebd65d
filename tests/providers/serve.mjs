// Emulates one provider for one test.
//
//   node serve.mjs SERVICE
//
// Takes the seed as the first line of standard input, prints the URL, and ends with its input, so
// that it never outlives the test.

import { createInterface } from "node:readline";
import { createEmulator } from "emulate";

const lines = createInterface({ input: process.stdin });
lines.once("line", async (seed) => {
  const { url } = await createEmulator({ service: process.argv[2], port: 0, seed: JSON.parse(seed) });
  console.log(url);
});
lines.once("close", () => process.exit(0));
