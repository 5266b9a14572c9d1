// SPDX-FileCopyrightText: 2026 The Twinlens authors
// SPDX-License-Identifier: MIT
// The page /docs: shows the OpenAPI document, and puts a small photo or film into each field for
// one, so that "Try it out" works at once.

const EXAMPLES = { image: "example.jpg", video: "example.mp4" };
const filled = new WeakSet();

async function fill(input, name) {
  const answer = await fetch(`docs/${name}`);
  if (!answer.ok || input.files.length > 0) {
    return;
  }
  const content = await answer.blob();
  const files = new DataTransfer();
  files.items.add(new File([content], name, { type: content.type }));
  input.files = files.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

function fillAll() {
  for (const [field, name] of Object.entries(EXAMPLES)) {
    for (const input of document.querySelectorAll(`tr[data-property-name=${field}] input[type=file]`)) {
      if (!filled.has(input)) {
        filled.add(input);
        fill(input, name);
      }
    }
  }
}

// The document's paths begin at the service, which a proxy may have put below a path of its own.
async function start() {
  const answer = await fetch("openapi.json");
  const servers = [{ url: new URL(".", location.href).href.replace(/\/$/, "") }];
  window.ui = window.SwaggerUIBundle({
    spec: { ...(await answer.json()), servers },
    dom_id: "#ui",
    validatorUrl: null,
    defaultModelsExpandDepth: 0, // the shapes of bodies are folded at the end of the page
    tryItOutEnabled: false,
  });
}

start();
new MutationObserver(fillAll).observe(document.getElementById("ui"), { childList: true, subtree: true });
