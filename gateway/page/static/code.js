// Drop-in code: the model and the policy chosen on the page, in five ways to call it.

import { attribute, byId, copy, h, put, sync } from "./dom.js";
import { base, choose, chosen } from "./state.js";

const TABS = [
  ["curl", "curl"],
  ["python", "Python"],
  ["node", "Node"],
  ["openrouter", "OpenRouter SDK"],
  ["anthropic", "Anthropic SDK"],
];
let shown = null;

export function show(page) {
  shown = page.model;
  const { model, policies } = shown;
  tabs();
  const select = byId("code-policy");
  sync(
    select,
    policies.in_force,
    (one) => one.name,
    (one) => h("option", { value: one.name }, one.name),
  );
  const policy = policies.in_force.some((one) => one.name === chosen.policy) ? chosen.policy : policies.default;
  select.value = policy;
  const current = TABS.some(([key]) => key === chosen.code) ? chosen.code : "curl";
  const at = new URL((model.base_url_path ?? "/v1").replace(/^\//, ""), base).href;
  put(
    byId("snippet-text"),
    SNIPPETS[current](at, policy === policies.default ? model.id : `${model.id}:${policy}`, model.needs_key),
  );
  attribute(byId("snippet"), "aria-labelledby", `tab-${current}`);
  const first = byId("start-body");
  byId("start").hidden = !(page.history && !page.history.all.total.requests);
  if (!byId("start").hidden) steps(first, page);
}

function tabs() {
  sync(
    byId("tabs"),
    TABS,
    ([key]) => key,
    create,
    (node, [key]) => {
      const selected = key === (TABS.some(([one]) => one === chosen.code) ? chosen.code : "curl");
      attribute(node, "aria-selected", String(selected));
      node.tabIndex = selected ? 0 : -1;
    },
  );
}

function create([key, words]) {
  const button = h(
    "button",
    { type: "button", role: "tab", id: `tab-${key}`, "aria-controls": "snippet", onclick: () => choose({ code: key }) },
    words,
  );
  button.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    const next = TABS[(TABS.findIndex(([one]) => one === key) + move + TABS.length) % TABS.length][0];
    choose({ code: next });
    byId(`tab-${next}`).focus();
  });
  return button;
}

function steps(box, { model, history }) {
  const usable = model.endpoints.some((one) => one.state !== "unused" && one.state !== "retired");
  const keys = model.endpoints.filter((one) => one.state === "unused" && one.set);
  const items = usable
    ? [
        "No request in this range yet. Send one with a snippet under Code; it appears here within seconds.",
        history.range === "30d" ? null : "Older traffic shows in a longer range.",
      ]
    : [
        "No endpoint is in use. Set the API key of at least one host in the gateway's environment, or add an endpoint of your own under models: in gateway.yaml, and restart the gateway.",
        ...keys.map((one) => `${one.set} enables ${one.id}`),
      ];
  sync(
    box,
    items.filter(Boolean),
    (text) => text,
    (text) => h("p", {}, text),
  );
}

byId("snippet-copy").addEventListener("click", (event) => copy(event.currentTarget, byId("snippet-text")));
byId("code-policy").addEventListener("change", (event) => choose({ policy: event.target.value }));

const SNIPPETS = {
  curl(at, model, key) {
    const auth = key ? `  -H "Authorization: Bearer $GATEWAY_API_KEY" \\\n` : "";
    return `curl ${at}/chat/completions \\\n${auth}  -H "Content-Type: application/json" \\\n  -d '{\n    "model": "${model}",\n    "messages": [{"role": "user", "content": "Say hello."}]\n  }'`;
  },
  python(at, model, key) {
    const head = key ? "import os\n\n" : "";
    return `${head}from openai import OpenAI\n\nclient = OpenAI(base_url="${at}", api_key=${key ? 'os.environ["GATEWAY_API_KEY"]' : '"none"'})\nanswer = client.chat.completions.create(\n    model="${model}",\n    messages=[{"role": "user", "content": "Say hello."}],\n)\nprint(answer.choices[0].message.content)`;
  },
  node(at, model, key) {
    return `import OpenAI from "openai";\n\nconst client = new OpenAI({\n  baseURL: "${at}",\n  apiKey: ${key ? "process.env.GATEWAY_API_KEY" : '"none"'},\n});\nconst answer = await client.chat.completions.create({\n  model: "${model}",\n  messages: [{ role: "user", content: "Say hello." }],\n});\nconsole.log(answer.choices[0].message.content);`;
  },
  openrouter(at, model, key) {
    const head = key ? "import os\n\n" : "";
    return `${head}from openrouter import OpenRouter\n\nclient = OpenRouter(server_url="${at.replace(/\/v1$/, "/api/v1")}", api_key=${key ? 'os.environ["GATEWAY_API_KEY"]' : '"none"'})\nanswer = client.chat.send(\n    model="${model}",\n    messages=[{"role": "user", "content": "Say hello."}],\n)\nprint(answer.choices[0].message.content)`;
  },
  anthropic(at, model, key) {
    const head = key ? "import os\n\n" : "";
    return `${head}from anthropic import Anthropic\n\nclient = Anthropic(base_url="${at.replace(/\/v1$/, "")}", api_key=${key ? 'os.environ["GATEWAY_API_KEY"]' : '"none"'})\nanswer = client.messages.create(\n    model="${model}",\n    max_tokens=200,\n    messages=[{"role": "user", "content": "Say hello."}],\n)\nprint(answer.content[0].text)`;
  },
};
