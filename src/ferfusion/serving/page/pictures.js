// What a person gives: a card for each modality, drawn examples, the webcam.

import { ask } from "./ask.js";

const NAMES = { visible: "Visible", infrared: "Infrared", msx: "MSX" };
const WHAT = {
  visible: "an ordinary picture",
  infrared: "of a thermal camera",
  msx: "thermal, with visible outlines",
};

export const nameOf = (modality) => NAMES[modality] || modality;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Pictures {
  // tell() is called when a picture was given or taken away; refuse(sentence) when one can't be.
  constructor(model, tell, refuse) {
    this.model = model;
    this.tell = tell;
    this.refuse = refuse;
    this.files = new Map();
    this.cards = new Map();
    const place = document.getElementById("cards");
    // An MSX picture, which few people have, is made of the other two.
    this.shown = model.modalities.includes("msx") ? ["visible", "infrared", "msx"] : model.modalities;
    for (const modality of this.shown) {
      const card = this.makeCard(modality);
      card.root.classList.toggle("one", this.shown.length === 1);
      this.cards.set(modality, card);
      place.append(card.root);
    }
    this.listenToDrops();
    const find = document.getElementById("find");
    document.getElementById("find-row").hidden = !model.finds_faces;
    find.addEventListener("change", () => this.files.size && this.tell());
  }

  // Drawn faces are cut out already.
  get asksForFace() {
    return this.model.finds_faces && !this.areDrawn && document.getElementById("find").checked;
  }

  get missing() {
    const lacking = this.model.modalities.filter((modality) => !this.files.has(modality));
    if (!lacking.includes("msx")) return lacking;
    return ["visible", "infrared"].filter((modality) => !this.files.has(modality));
  }

  // What is sent: all that the model looks at, or the pair of which MSX is made.
  get wanted() {
    const sent = this.files.has("msx") || !this.shown.includes("msx") ? this.model.modalities : ["visible", "infrared"];
    return new Map(sent.map((modality) => [modality, this.files.get(modality)]));
  }

  makeCard(modality) {
    const takesGrid = modality === "infrared" && this.model.takes_temperatures;
    const input = make("input", {
      type: "file",
      name: modality,
      accept: takesGrid ? "" : "image/jpeg,image/png,image/webp,image/tiff,image/bmp",
    });
    const what = takesGrid ? "a file with temperatures" : modality === "msx" ? `${WHAT.msx}; made of the others if you have none` : WHAT[modality];
    input.setAttribute("aria-label", `${nameOf(modality)} picture: choose a file, ${what}`);
    const invitation = make("span", { className: "name" });
    invitation.append("Drop it here or ", make("u", { textContent: "choose a file" }));
    const image = make("img", { hidden: true, alt: "" });
    const drop = make("div", { className: "drop" });
    drop.append(make("strong", { textContent: nameOf(modality) }), make("span", { textContent: what }), invitation, image, input);
    const under = make("div", { className: "under" });
    const said = make("span", { textContent: "" });
    const remove = make("button", { type: "button", textContent: "Remove", hidden: true });
    remove.setAttribute("aria-label", `Remove the ${modality} picture`);
    under.append(said);
    const camera = modality === "visible" ? this.makeCameraButton() : make("span");
    under.append(camera, remove);
    const root = make("div", { className: "card" }, drop, under);
    const card = { root, drop, input, image, invitation, said, camera, remove };
    input.addEventListener("change", () => input.files[0] && this.give(modality, input.files[0]));
    remove.addEventListener("click", () => {
      this.take(modality);
      input.focus();
      this.tell();
    });
    return card;
  }

  listenToDrops() {
    // Anywhere else a drop would leave the page.
    window.addEventListener("dragover", (event) => event.preventDefault());
    window.addEventListener("drop", (event) => {
      event.preventDefault();
      this.giveAll(this.shown, event.dataTransfer.files);
    });
    for (const [modality, { drop }] of this.cards) {
      drop.addEventListener("dragover", () => drop.classList.add("over"));
      drop.addEventListener("dragleave", () => drop.classList.remove("over"));
      drop.addEventListener("drop", (event) => {
        event.preventDefault();
        event.stopPropagation();
        drop.classList.remove("over");
        this.giveAll([modality, ...this.shown.filter((other) => other !== modality)], event.dataTransfer.files);
      });
    }
  }

  // Several at once fill the cards in this order.
  giveAll(order, files) {
    order.slice(0, files.length).forEach((one, place) => this.give(one, files[place]));
  }

  give(modality, file, { isQuiet = false, said = file.name } = {}) {
    const takesGrid = modality === "infrared" && this.model.takes_temperatures;
    if (file.type && !file.type.startsWith("image/") && !takesGrid) {
      this.refuse(`${file.name} is no picture. Give a JPEG, PNG, WebP, TIFF or BMP file.`);
      return;
    }
    const limit = this.model.limits.max_mb;
    const others = [...this.files].filter(([other]) => other !== modality);
    const bytes = others.reduce((sum, [, one]) => sum + one.size, file.size);
    if (bytes > limit * 1e6 - 2000) {
      this.refuse(`These pictures have ${(bytes / 1e6).toFixed(1)} MB together, and this server takes ${limit} MB. Save them smaller and try again.`);
      return;
    }
    const card = this.cards.get(modality);
    this.take(modality);
    this.files.set(modality, file);
    card.drop.classList.add("full");
    card.said.textContent = said.length > 28 ? `${said.slice(0, 18)}…${said.slice(-8)}` : said;
    card.remove.hidden = false;
    card.camera.hidden = true;
    card.invitation.textContent = said;
    this.show(modality, URL.createObjectURL(file));
    if (!isQuiet) {
      this.pressExample(null);
      this.tell();
    }
  }

  // Browsers can't show every kind; then the card keeps its words until the server sends a picture.
  show(modality, address) {
    const { image } = this.cards.get(modality);
    image.onload = () => {
      image.hidden = false;
      image.alt = `The ${modality} picture`;
    };
    image.onerror = () => (image.hidden = true);
    image.src = address;
  }

  take(modality) {
    const card = this.cards.get(modality);
    this.files.delete(modality);
    if (card.image.src.startsWith("blob:")) URL.revokeObjectURL(card.image.src);
    card.image.hidden = true;
    card.image.removeAttribute("src");
    card.input.value = "";
    card.drop.classList.remove("full");
    card.said.textContent = "";
    card.remove.hidden = true;
    card.camera.hidden = false;
    card.invitation.replaceChildren("Drop it here or ", make("u", { textContent: "choose a file" }));
  }

  async offerExamples(names) {
    const place = document.getElementById("examples");
    const shown = this.model.modalities.find((m) => !(m === "infrared" && this.model.takes_temperatures)) || "visible";
    for (const name of names) {
      const image = make("img", { alt: "", width: 88, height: 88 });
      const button = make("button", { type: "button" });
      button.append(image, name);
      button.setAttribute("aria-label", `Drawn face that looks ${name}`);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => this.giveExample(name, button));
      place.append(button);
      this.fetchExample(name, shown).then((file) => (image.src = URL.createObjectURL(file)), () => {});
    }
  }

  async fetchExample(name, modality) {
    const answer = await ask(`examples/${name}/${modality}`);
    return new File([await answer.blob()], `${name}, drawn`, { type: answer.headers.get("content-type") });
  }

  async giveExample(name, button) {
    try {
      const files = await Promise.all(this.model.modalities.map((modality) => this.fetchExample(name, modality)));
      this.model.modalities.forEach((modality, place) => this.give(modality, files[place], { isQuiet: true }));
      this.pressExample(button);
      this.tell();
    } catch (error) {
      this.refuse(error.message);
    }
  }

  pressExample(pressed) {
    this.areDrawn = pressed !== null;
    for (const button of document.querySelectorAll("#examples button")) {
      button.setAttribute("aria-pressed", String(button === pressed));
    }
  }

  makeCameraButton() {
    const button = make("button", { type: "button", textContent: "Use the webcam" });
    button.addEventListener("click", () => this.openCamera());
    return button;
  }

  async openCamera() {
    if (!navigator.mediaDevices) {
      this.refuse("Browsers lend the webcam only to pages of this machine or with https. Open the page as http://localhost, or choose a file.");
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1280 } } });
    } catch (error) {
      this.refuse(
        error.name === "NotAllowedError"
          ? "The browser wasn't allowed to use the webcam. Allow it beside the address, or choose a file."
          : "No webcam was found, or another program is using it. You can choose a file instead.",
      );
      return;
    }
    const dialog = document.getElementById("camera");
    const video = document.getElementById("video");
    video.srcObject = stream;
    await video.play();
    dialog.showModal();
    dialog.onclose = () => stream.getTracks().forEach((track) => track.stop());
    document.getElementById("stop").onclick = () => dialog.close();
    document.getElementById("shoot").onclick = () => {
      const side = Math.min(video.videoWidth, video.videoHeight);
      const canvas = make("canvas", { width: side, height: side });
      const [x, y] = [(video.videoWidth - side) / 2, (video.videoHeight - side) / 2];
      canvas.getContext("2d").drawImage(video, x, y, side, side, 0, 0, side, side);
      dialog.close();
      canvas.toBlob((blob) => this.give("visible", new File([blob], "webcam", { type: "image/jpeg" })), "image/jpeg", 0.95);
    };
  }
}
