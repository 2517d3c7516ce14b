// The page: asks about the model, then about pictures as soon as all are there.

import { ask, keepToken, Refusal, sendPictures, takeTokenFromAddress } from "./ask.js";
import { Pictures } from "./pictures.js";
import { hideResults, showAnswer, showExplanation, tellAbout, tellModel } from "./results.js";

const EXAMPLES = ["angry", "happy", "neutral", "sad", "surprised"];
const at = (id) => document.getElementById(id);
let model, pictures, running;

function say(text, isBusy = false) {
  at("status").textContent = text;
  at("status").classList.toggle("busy", isBusy);
}

function refuse(sentence, tryAgain = null) {
  say("");
  at("problem-text").textContent = sentence;
  at("again-row").hidden = !tryAgain;
  at("again").onclick = tryAgain;
  at("problem").hidden = false;
  at("problem").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

async function look() {
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  at("problem").hidden = true;
  hideResults();
  if (pictures.missing.length) {
    say(pictures.files.size ? `Still missing: ${pictures.missing.join(" and ")}.` : "");
    return;
  }
  try {
    say("Asking the model", true);
    const question = pictures.asksForFace ? "?find_face=true" : "";
    const answer = await sendPictures(`predict${question}`, pictures.wanted, signal);
    showAnswer(model, answer);
    at("answer").scrollIntoView({ block: "nearest", behavior: "smooth" });
    const said = answer.abstained ? `The model would rather not say. Most probable is ${answer.label}` : `Answer: ${answer.label}`;
    say(`${said}. Looking for what it rests on`, true);
    const explained = await explainPatiently(question, signal);
    for (const [modality, address] of Object.entries(explained.pictures)) {
      if (pictures.cards.get(modality)?.image.hidden) pictures.show(modality, address);
    }
    showExplanation(explained);
    say(`${said}, in ${answer.milliseconds.toFixed(0)} ms. Maps and comparisons are below.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) return askForToken(true);
    // What a second try can mend: silence, haste, a crowd, slowness.
    refuse(error.message, [0, 429, 500, 503, 504].includes(error.status) ? look : null);
  }
}

// Few explanations are made at once, and one that nobody waits for any more may still be going on.
async function explainPatiently(question, signal) {
  for (let left = 15; ; left -= 1) {
    try {
      return await sendPictures(`explain${question}`, pictures.wanted, signal);
    } catch (error) {
      if (error.status !== 503 || left === 0) throw error;
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

function askForToken(isWrong) {
  at("app").hidden = true;
  at("token-form").hidden = false;
  at("token-wrong").textContent = isWrong ? "That isn't the token." : "";
  at("token").focus();
  say("");
}

async function start() {
  try {
    model = await (await ask("model")).json();
  } catch (error) {
    if (error.status === 401) return askForToken(sessionStorage.getItem("ferfusion-token") !== null);
    at("about").replaceChildren(error.message);
    return;
  }
  at("token-form").hidden = true;
  at("app").hidden = false;
  tellModel(model);
  tellAbout(model);
  if (pictures) return;
  pictures = new Pictures(model, look, refuse);
  pictures.offerExamples(EXAMPLES);
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepToken(at("token").value.trim());
  start();
});
takeTokenFromAddress();
start();
