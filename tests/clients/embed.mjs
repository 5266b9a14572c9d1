// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
// Embeds texts with OpenAI's client for Node: node embed.mjs BASE_URL MODEL, texts as JSON on stdin.

import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [base, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: base, apiKey: "none", maxRetries: 0 });
const input = JSON.parse(readFileSync(0, "utf8"));
const plain = await client.embeddings.create({ model, input });
const numbers = await client.embeddings.create({ model, input, encoding_format: "float" });
const found = await client.models.retrieve(model);
const refused = await client.embeddings.create({ model, input, dimensions: 7 }).catch((error) => error);
console.log(
  JSON.stringify({
    vectors: plain.data.map((each) => [...each.embedding]),
    numbers: numbers.data.map((each) => each.embedding),
    id: found.id,
    refused: { status: refused.status, param: refused.param, code: refused.code, reason: refused.error.reason },
  }),
);
