// Shows /openapi.json and lets its operations be tried. No framework, nothing from elsewhere; texts are set as text only.
"use strict";

const $ = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const { dataset, ...own } = properties;
  const element = Object.assign(document.createElement(tag), own);
  Object.assign(element.dataset, dataset);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

let api = null;
let operations = [];

const follow = (value) =>
  value && value.$ref ? value.$ref.slice(2).split("/").reduce((place, name) => place[name.replace(/~1/g, "/").replace(/~0/g, "~")], api) : value;

// Words with `code` in them, as nodes.
const told = (text) => text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? make("code", { textContent: part }) : part));

const headers = () => ($("key").value.trim() ? { Authorization: `Bearer ${$("key").value.trim()}` } : {});

async function read() {
  const response = await fetch("/openapi.json", { headers: headers() });
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    $("list").replaceChildren();
    $("shown").replaceChildren(
      make("h1", { textContent: response.status === 401 ? "An API key is needed" : "The API cannot be read" }),
      make("p", { className: "told", textContent: problem.detail || response.statusText }),
      make("p", { className: "quiet", textContent: "Put a key with the scope “read” into the field above." }),
    );
    return;
  }
  api = await response.json();
  $("version").textContent = api.info.version;
  operations = [];
  for (const [kind, places] of [["", api.paths], ["hook", api.webhooks || {}]])
    for (const [path, methods] of Object.entries(places))
      for (const [method, operation] of Object.entries(methods))
        operations.push({
          id: operation.operationId,
          method,
          path: operation["x-oncue-path"] || path,
          group: kind ? "declared routes" : operation.operationId.startsWith("invoke_") ? "your functions" : operation.tags[0],
          operation,
        });
  list();
  show();
}

function list() {
  const wanted = $("filter").value.trim().toLowerCase();
  const groups = new Map();
  for (const each of operations) {
    const words = `${each.method} ${each.path} ${each.operation.summary} ${each.id}`.toLowerCase();
    if (words.includes(wanted)) groups.set(each.group, [...(groups.get(each.group) || []), each]);
  }
  const order = ["your functions", "declared routes", ...api.tags.map(({ name }) => name)];
  const names = [...groups.keys()].sort((a, b) => order.indexOf(a) - order.indexOf(b));
  $("list").replaceChildren(
    ...names.flatMap((name) => [
      make("h2", { textContent: name }),
      ...groups.get(name).map((each) =>
        make(
          "a",
          { href: `#${each.id}`, title: `${each.method.toUpperCase()} ${each.path}` },
          make("span", { className: `verb ${each.method}`, textContent: each.method.toUpperCase() }),
          make("span", { textContent: each.id.startsWith("invoke_") ? each.path.slice("/v1/functions/".length) : each.path.replace(/^\/v1/, "") }),
        ),
      ),
    ]),
  );
  mark();
}

function mark() {
  for (const link of $("list").querySelectorAll("a"))
    link.hash === location.hash ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
}

function show() {
  const each = operations.find(({ id }) => `#${id}` === location.hash) || operations[0];
  if (!each) return;
  if (`#${each.id}` !== location.hash) history.replaceState(null, "", `#${each.id}`);
  mark();
  const { operation } = each;
  const more = (operation.description || "").replace(operation.summary, "").trim().replace(/([^\n])\n(?=\S)/g, "$1 ");
  $("shown").replaceChildren(
    make("h1", { textContent: each.id.startsWith("invoke_") ? each.path.slice("/v1/functions/".length) : operation.summary }),
    make("p", { className: "place" }, make("span", { className: `verb ${each.method}`, textContent: each.method.toUpperCase() }), each.path),
    each.id.startsWith("invoke_") ? make("p", { className: "told lead" }, ...told(operation.summary)) : "",
    more ? make("p", { className: "told" }, ...told(more)) : "",
    make(
      "div",
      { className: "halves" },
      make("section", {}, ...inputs(operation), ...outputs(operation)),
      make("section", {}, make("h3", { textContent: "Try it" }), form(each)),
    ),
  );
  scrollTo(0, 0);
}

function words(schema) {
  const found = follow(schema);
  if (found === undefined || found === true || !Object.keys(found).length) return "anything";
  if (found.anyOf || found.oneOf) return (found.anyOf || found.oneOf).map(words).join(" or ");
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in found) return JSON.stringify(found.const);
  if (found.type === "array") return `list of ${words(found.items || true)}`;
  const kind = [].concat(found.type || "object").join(" or ");
  const facts = [
    found.format || found.contentEncoding,
    found.minimum !== undefined && `≥ ${found.minimum}`,
    found.exclusiveMinimum !== undefined && `> ${found.exclusiveMinimum}`,
    found.maximum !== undefined && `≤ ${found.maximum}`,
    found.maxLength !== undefined && `up to ${found.maxLength} characters`,
    found.default !== undefined && found.default !== null && `default ${JSON.stringify(found.default)}`,
  ].filter(Boolean);
  return facts.length ? `${kind} (${facts.join(", ")})` : kind;
}

const row = (name, must, text) =>
  make("tr", {}, make("td", {}, name, must ? make("span", { className: "must", textContent: " *", title: "required" }) : ""), make("td", {}, ...told(text)));

function inputs(operation) {
  const parts = [];
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const body = content && follow(content.schema);
  const fields = (body && body.properties) || {};
  if (Object.keys(fields).length)
    parts.push(
      make("h3", { textContent: "Body" }),
      make(
        "table",
        {},
        ...Object.entries(fields).map(([name, schema]) => {
          const { description } = follow(schema);
          return row(name, (body.required || []).includes(name), description ? `${words(schema)} · ${description}` : words(schema));
        }),
      ),
    );
  if (operation.parameters)
    parts.push(
      make("h3", { textContent: "Parameters" }),
      make("table", {}, ...operation.parameters.map((each) => row(each.name, each.required, `${each.description || words(each.schema)} · ${each.in}`))),
    );
  return parts;
}

function outputs(operation) {
  return [
    make("h3", { textContent: "Answers" }),
    make(
      "table",
      {},
      ...Object.entries(operation.responses).map(([status, response]) => {
        const found = follow(response);
        const kinds = Object.keys(found.content || {}).join(", ");
        return make(
          "tr",
          {},
          make("td", { className: `code ${status < "4" ? "good" : "bad"}`, textContent: status }),
          make("td", {}, found.description, kinds ? make("span", { className: "quiet", textContent: `  ${kinds}` }) : ""),
        );
      }),
    ),
  ];
}

function form(each) {
  const { operation, method } = each;
  const parameters = (operation.parameters || []).concat(
    [...each.path.matchAll(/\{([^}]+)\}/g)]
      .map((match) => match[1])
      .filter((name) => !(operation.parameters || []).some((own) => own.name === name))
      .map((name) => ({ name, in: "path", required: true })),
  );
  const fields = parameters.map((parameter) => {
    const input = make("input", { id: `in-${parameter.name}`, required: Boolean(parameter.required), placeholder: parameter.in });
    return { parameter, input };
  });
  const content = operation.requestBody ? operation.requestBody.content : {};
  const media = make("select", { ariaLabel: "Media type" }, ...Object.keys(content).map((name) => make("option", { textContent: name })));
  const text = make("textarea", { spellcheck: false, ariaLabel: "Body" });
  const file = make("input", { type: "file", ariaLabel: "Body from a file" });
  const fill = () => {
    const own = content[media.value] || {};
    const isFile = media.value === "application/octet-stream";
    text.hidden = isFile;
    file.hidden = !isFile;
    text.value = JSON.stringify(own.example !== undefined ? own.example : {}, null, 2);
  };
  media.onchange = fill;
  if (Object.keys(content).length) fill();
  const answer = make("div", { className: "answer" });
  const request = () => {
    let path = each.path;
    const search = new URLSearchParams();
    const sent = headers();
    for (const { parameter, input } of fields) {
      if (input.value === "" && parameter.in !== "path") continue;
      if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "query") search.append(parameter.name, input.value);
      else sent[parameter.name] = input.value;
    }
    let body;
    if (Object.keys(content).length) {
      body = file.hidden ? text.value : file.files[0];
      sent["Content-Type"] = file.hidden || !file.files[0] || !file.files[0].type ? media.value : file.files[0].type;
    }
    return { url: path + (search.size ? `?${search}` : ""), options: { method: method.toUpperCase(), headers: sent, body } };
  };
  const copy = make("button", { type: "button", className: "plain", textContent: "Copy as curl" });
  copy.onclick = async () => {
    await navigator.clipboard.writeText(curl(request()));
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy as curl"), 1500);
  };
  const shownAs = ({ parameter, input }) =>
    make("div", { className: "field" }, make("label", { htmlFor: input.id, textContent: parameter.name }), input);
  const optional = fields.filter(({ parameter }) => !parameter.required);
  const built = make(
    "form",
    {},
    ...fields.filter(({ parameter }) => parameter.required).map(shownAs),
    ...(Object.keys(content).length ? [Object.keys(content).length > 1 ? media : "", text, file] : []),
    optional.length
      ? make("details", { open: !Object.keys(content).length }, make("summary", { textContent: "Options" }), ...optional.map(shownAs))
      : "",
    make("div", { className: "row" }, make("button", { textContent: "Send" }), copy),
    answer,
  );
  built.onsubmit = async (event) => {
    event.preventDefault();
    const { url, options } = request();
    const begun = performance.now();
    answer.replaceChildren(make("p", { className: "quiet", textContent: "Waiting …" }));
    try {
      const response = await fetch(url, options);
      await tell(answer, response, performance.now() - begun);
    } catch (error) {
      answer.replaceChildren(make("p", { className: "bad", textContent: `Nothing answered: ${error.message}` }));
    }
  };
  return built;
}

const quoted = (value) => `'${String(value).replaceAll("'", "'\\''")}'`;

function curl({ url, options }) {
  const parts = ["curl", ...(options.method === "GET" ? [] : ["-X", options.method]), quoted(location.origin + url)];
  for (const [name, value] of Object.entries(options.headers))
    parts.push("-H", quoted(`${name}: ${name === "Authorization" ? "Bearer $ONCUE_KEY" : value}`).replace(/^'(.*\$ONCUE_KEY.*)'$/, '"$1"'));
  if (options.body instanceof File) parts.push("--data-binary", quoted(`@${options.body.name}`));
  else if (options.body) parts.push("-d", quoted(options.body));
  return parts.join(" ");
}

async function tell(place, response, took) {
  const type = response.headers.get("content-type") || "";
  const shown = ["location", "retry-after", "x-request-id", "ratelimit"].filter((name) => response.headers.get(name));
  const parts = [
    make(
      "p",
      {},
      make("b", { className: response.ok ? "good" : "bad", textContent: response.status }),
      make("span", { className: "quiet", textContent: `  ${took.toFixed(0)} ms  ${type}` }),
    ),
    ...(shown.length ? [make("pre", { textContent: shown.map((name) => `${name}: ${response.headers.get(name)}`).join("\n") })] : []),
  ];
  if (type.startsWith("image/")) parts.push(make("img", { src: URL.createObjectURL(await response.blob()), alt: "the result" }));
  else if (type.includes("json")) parts.push(make("pre", { textContent: JSON.stringify(await response.json(), null, 2) }));
  else if (type.startsWith("text/")) parts.push(make("pre", { textContent: (await response.text()).slice(0, 200000) }));
  else if (response.status !== 204) {
    const link = make("a", { textContent: "Save the result", href: URL.createObjectURL(await response.blob()), download: "result" });
    parts.push(make("p", {}, link));
  }
  place.replaceChildren(...parts);
}

$("filter").oninput = list;
$("key").onchange = read;
addEventListener("hashchange", show);
addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("filter").focus();
  }
});
read();
