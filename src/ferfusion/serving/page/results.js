// What the model said, shown.

import { make, nameOf } from "./pictures.js";

const at = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toFixed(share > 0.0995 && share < 0.9995 ? 0 : 1)} %`;

export function hideResults() {
  for (const id of ["answer", "pair", "maps", "without"]) at(id).hidden = true;
}

export function tellModel(model) {
  const how = { single: "single model", early: "early fusion", late: "late fusion" }[model.fusion];
  const parts = [model.name, how, model.backbone, model.modalities.join(" + "), tellAccuracy(model)];
  at("facts").replaceChildren(...parts.filter(Boolean).map((text) => make("span", { textContent: text })));
  const cut = model.finds_faces ? "They may show more than the face." : "Cut close to the face, like the drawn ones below.";
  at("lead").textContent =
    model.modalities.length > 1
      ? `This model looks at ${model.modalities.length} pictures of one face at one moment: ${model.modalities.join(" and ")}. ${cut}`
      : `This model looks at one picture: ${model.modalities[0]}. ${cut}`;
}

function tellAccuracy(model) {
  const found = model.accuracy;
  if (!found) return "";
  const rate = ((100 * found.correct) / found.n).toFixed(1);
  return `right on ${found.correct}/${found.n} = ${rate} % [${(100 * found.low).toFixed(1)}, ${(100 * found.high).toFixed(1)}] of its test faces`;
}

// "**strong** and plain", as the cards of models are written.
function strongly(text) {
  return text.split("**").map((part, place) => (place % 2 ? make("strong", { textContent: part }) : part));
}

export function tellAbout(model) {
  const accuracy = tellAccuracy(model);
  const list = make("dl");
  const add = (term, text) => list.append(make("dt", { textContent: term }), make("dd", { textContent: text }));
  add("names", model.labels.join(", "));
  add("how good", accuracy ? `${accuracy[0].toUpperCase()}${accuracy.slice(1)} (95 % Wilson interval).` : "Not known: this model came without a test result.");
  add("trained on", model.trained_on.join(" ") || "Not known: ask whoever gave you the model.");
  const paragraphs = model.responsible_use.map((text) => make("p", {}, ...strongly(text)));
  at("about").replaceChildren(...paragraphs, list);
}

export function showAnswer(model, answer) {
  const least = model.least_confidence;
  const sure = answer.probabilities[answer.label];
  at("label").textContent = answer.abstained ? "It would rather not say" : answer.label;
  at("label").classList.toggle("unsure", answer.abstained);
  at("sure").textContent = answer.abstained
    ? `Most probable is ${answer.label}, with ${percent(sure)}. That is less than the ${percent(least)} it wants to have.`
    : `It is ${percent(sure)} sure. If it is as right as it is sure, about ${Math.round(100 * sure)} of 100 such answers are right.`;
  const rows = Object.entries(answer.probabilities).sort((one, other) => other[1] - one[1]);
  at("bars").replaceChildren(...rows.map(([label, share], place) => makeBar(label, share, place, least)));
  at("threshold").textContent = least > 0 ? `The line marks ${percent(least)}: below it the model would rather not say.` : "This model always answers, however unsure.";
  const accuracy = tellAccuracy(model);
  at("accuracy").textContent = `Probabilities are calibrated on faces that didn't train it.${accuracy ? ` It was ${accuracy}; the brackets hold the 95 % interval.` : ""}`;
  at("answer").hidden = false;
}

function makeBar(label, share, place, least) {
  const filled = make("span");
  filled.style.width = `${100 * share}%`;
  const bar = make("div", { className: "bar" }, filled);
  bar.setAttribute("aria-hidden", "true");
  if (least > 0) {
    const line = make("i");
    line.style.left = `${100 * least}%`;
    bar.append(line);
  }
  const name = make("th", { scope: "row", textContent: label });
  return make("tr", { className: place ? "" : "first" }, name, make("td", {}, bar), make("td", { textContent: percent(share) }));
}

export function showExplanation(answer) {
  showPair(answer.aligned);
  showMaps(answer);
  showWithout(answer);
}

function showPair(pair) {
  at("pair").hidden = !pair;
  if (!pair) return;
  at("below").src = pair.visible;
  at("above").src = pair.infrared;
  at("pair-said").textContent = tellMotion(pair.found);
  blend();
}

function tellMotion(found) {
  if (!found) return "The face was found, infrared was laid on visible, and both were cut to the face. The model was asked about these pictures.";
  const quality = found.quality.toFixed(2);
  const said = found.passed
    ? `The infrared picture was moved by ${found.shift_percent.toFixed(1)} % of the width, scaled by ${found.scale.toFixed(2)}, turned by ${found.angle_deg.toFixed(1)}°; it lies right with a quality of ${quality}.`
    : `How the infrared picture lies on the visible one couldn't be found with certainty (quality ${quality}). Look whether eyes and mouth meet.`;
  return `${said} This is for your eye; the model was asked about the pictures as you gave them.`;
}

function blend() {
  const share = Number(at("share").value);
  const isMix = document.querySelector("input[name=mode]:checked").value === "mix";
  at("above").style.opacity = isMix ? share / 100 : 1;
  at("above").style.clipPath = isMix ? "none" : `inset(0 0 0 ${100 - share}%)`;
  at("share-said").textContent = `${share} %`;
  at("share").setAttribute("aria-valuetext", `${share} % infrared`);
}
at("share").addEventListener("input", blend);
document.querySelectorAll("input[name=mode]").forEach((one) => one.addEventListener("change", blend));

function showMaps(answer) {
  const figures = Object.entries(answer.heat).map(([modality, heat]) => {
    const said = heat
      ? `hiding the strongest patch takes ${Math.round(100 * heat.strongest)} points off “${answer.label}”`
      : "left out: the maps took too long here";
    const caption = make("figcaption", {}, make("b", { textContent: nameOf(modality) }), `: ${said}.`);
    const figure = make("figure", {}, caption);
    if (heat) figure.prepend(make("img", { src: heat.picture, alt: `Heat map over the ${modality} picture: ${said}` }));
    return figure;
  });
  at("maps-lead").textContent = `Patch after patch was hidden. The warmer a place, the more of the probability of “${answer.label}” went with it. No proof of what the model uses.`;
  at("maps-figures").replaceChildren(...figures);
  at("maps").hidden = false;
}

function showWithout(answer) {
  const rows = Object.entries(answer.without);
  at("without").hidden = rows.length === 0;
  if (!rows.length) return;
  const whole = answer.probabilities[answer.label];
  at("without-label").textContent = `“${answer.label}”`;
  const makeRow = (sees, said, change) => {
    const share = said.probabilities[answer.label];
    const says = said.abstained ? `would rather not say (${said.label})` : said.label;
    return make("tr", {}, make("th", { scope: "row", textContent: sees }), make("td", { textContent: says }), make("td", { className: "number", textContent: percent(share) }), make("td", { className: "number", textContent: change }));
  };
  const points = (share) => {
    const change = Math.round(100 * (share - whole));
    return `${change < 0 ? "−" : change > 0 ? "+" : ""}${Math.abs(change)} points`;
  };
  at("without-rows").replaceChildren(
    makeRow("everything", answer, ""),
    ...rows.map(([modality, said]) => makeRow(`all but ${modality}`, said, points(said.probabilities[answer.label]))),
  );
}
