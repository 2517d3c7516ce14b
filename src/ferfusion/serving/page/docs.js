// openapi.json as a page.

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

function makeTable(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col", textContent: text })));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((text) => make("td", { textContent: text }))));
  return make("div", { className: "scroll" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body)));
}

function tellType(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(tellType).join(" or ");
  if (schema.type === "array") return `list of ${tellType(schema.items)}`;
  return schema.enum ? schema.enum.join(", ") : schema.type || "";
}

function makeExample(method, path, form) {
  const fields = Object.keys(form?.schema.properties || {}).map((name) => ` -F ${name}=@${name}.jpg`);
  return make("pre", { tabIndex: 0, textContent: `curl${fields.join("")} ${new URL(`.${path}`, location.href)}` });
}

// An address with the first value that each of its parts may have.
function fillPath(path, operation, schemas) {
  for (const { name, in: place, schema } of operation.parameters || []) {
    const values = schema.enum || schemas[schema.$ref?.split("/").pop()]?.enum || [];
    if (place === "path" && values.length) path = path.replace(`{${name}}`, values[0]);
  }
  return path;
}

function describe(path, method, operation, schemas) {
  const section = make("section");
  const title = make("h2", {}, make("span", { className: "method", textContent: `${method.toUpperCase()} ` }), make("code", { textContent: path }));
  section.append(title, make("p", { textContent: operation.description || operation.summary }));
  const form = operation.requestBody?.content["multipart/form-data"];
  section.append(makeExample(method, fillPath(path, operation, schemas), form));
  const answer = operation.responses["200"]?.content?.["application/json"]?.schema;
  const found = answer?.$ref && schemas[answer.$ref.split("/").pop()];
  if (found) {
    const rows = Object.entries(found.properties).map(([name, one]) => [name, tellType(one), one.description || ""]);
    section.append(make("h3", { textContent: "Answer" }), makeTable(["field", "type", ""], rows));
  }
  const others = Object.keys(operation.responses).filter((status) => status !== "200");
  if (others.length) section.append(make("p", { className: "quiet", textContent: `Or an error, with one sentence in the field error: ${others.join(", ")}.` }));
  return section;
}

const place = document.getElementById("operations");
try {
  const api = await (await fetch("openapi.json")).json();
  const sections = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => describe(path, method, operation, api.components.schemas)),
  );
  place.replaceChildren(...sections);
} catch {
  place.replaceChildren(make("p", { textContent: "The server doesn't answer. Is it still running?" }));
}
