// State, controls and keys.

const byId = (name) => document.getElementById(name);
const canvas = byId("picture");
const LOWEST = 0.1; // Pixels per frame: the smallest scale.
const highest = Math.max(64, 4 * fastest());
const suited = Math.max(1, typical());
const state = { frame: 0, view: "colour", scale: suited, split: 0.5, at: null, points: [], playing: false };
let shown = { number: -1, picture: null, flows: [] };

const KEYS = [
  ["← →", "one frame back or on; with Shift ten", {
    ArrowLeft: (event) => go(state.frame - (event.shiftKey ? 10 : 1)),
    ArrowRight: (event) => go(state.frame + (event.shiftKey ? 10 : 1)),
  }],
  ["Home End", "first or last frame", { Home: () => go(0), End: () => go(facts.frames.length - 1) }],
  ["Space", "play or pause", { " ": () => play(!state.playing) }],
  ["1 2 3 4", "colour, arrows, overlay, frame alone", {
    1: () => setView("colour"), 2: () => setView("arrows"), 3: () => setView("overlay"), 4: () => setView("picture"),
  }],
  ["+ - 0", "a higher scale, a lower one, the one that suits the clip", {
    "+": () => setScale(state.scale * 1.15), "=": () => setScale(state.scale * 1.15),
    "-": () => setScale(state.scale / 1.15), 0: () => setScale(suited),
  }],
  ["W A S D", "move the cross up, left, down or right", {
    w: () => moveCross(0, -1), a: () => moveCross(-1, 0), s: () => moveCross(0, 1), d: () => moveCross(1, 0),
  }],
  ["X", "drop a point at the cross", { x: () => drop() }],
  ["C", "remove all points", { c: () => clearPoints() }],
  ["[ ]", "move the border between two flows", {
    "[": () => setSplit(state.split - 0.05), "]": () => setSplit(state.split + 0.05),
  }],
];

function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const colours = () => [themed("--first"), themed("--second")].slice(0, facts.names.length);
const MARKS = ["#6db3ff", "#ffa266"]; // On pictures, whatever the theme.

function tagged(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

// Draws what is decoded.
function draw() {
  const context = fitted(canvas);
  const { width, height } = canvas;
  const to = (x, y) => [((x + 0.5) / facts.width) * width, ((y + 0.5) / facts.height) * height];
  const two = facts.names.length > 1;
  const border = Math.round(state.split * width);
  facts.names.forEach((name, which) => {
    context.save();
    context.beginPath();
    context.rect(which ? border : 0, 0, two && !which ? border : width, height);
    context.clip();
    drawFlow(context, shown.picture, which, shown.flows[which], state, to);
    context.restore();
  });
  if (two) {
    context.fillStyle = "#000";
    context.fillRect(border - 2, 0, 4, height);
    context.fillStyle = "#fff";
    context.fillRect(border - 1, 0, 2, height);
  }
  drawTracks(context, state.points, shown.number, MARKS, to);
  if (state.at) drawTarget(context, state.at, vectors().map(endOf), MARKS, to);
  writeValues();
}

// The vectors at the cross, null where unknown.
function vectors() {
  return facts.names.map((name, which) => {
    const flow = shown.flows[which];
    return (state.at && flow && vectorAt(flow, state.at.column, state.at.row)) || null;
  });
}

const endOf = (vector) => vector && { x: state.at.x + vector.u, y: state.at.y + vector.v };

function writeValues() {
  const signed = (number) => (number < 0 ? "−" : number > 0 ? "+" : "") + Math.abs(number).toFixed(2);
  const found = vectors();
  byId("place").textContent = state.at ? `at x ${state.at.x}, y ${state.at.y}` : "point at the picture";
  const rows = found.map((vector, which) => {
    const row = document.createElement("tr");
    const head = tagged("th", facts.names[which]);
    head.scope = "row";
    row.append(head);
    const end = endOf(vector);
    const texts = vector
      ? [signed(vector.u), signed(vector.v), Math.hypot(vector.u, vector.v).toFixed(2),
        `${end.x.toFixed(1)}, ${end.y.toFixed(1)}${isInside(end.x, end.y) ? "" : " (outside)"}`]
      : [state.at ? "unknown" : "", "", "", ""];
    row.append(...texts.map((text) => tagged("td", text)));
    return row;
  });
  if (found.length === 2 && found[0] && found[1]) {
    const row = document.createElement("tr");
    const [u, v] = [found[0].u - found[1].u, found[0].v - found[1].v];
    row.append(tagged("th", "difference"), tagged("td", signed(u)), tagged("td", signed(v)));
    row.append(tagged("td", Math.hypot(u, v).toFixed(2)), tagged("td", ""));
    rows.push(row);
  }
  document.querySelector("#values tbody").replaceChildren(...rows);
}

function writeNumber() {
  const frame = facts.frames[state.frame];
  const name = frame.name && Number(frame.name) !== frame.index ? ` ${frame.name}` : "";
  byId("number").textContent = `frame ${frame.index}${name}, ${frame.time.toFixed(2)} s`;
  byId("frame").value = state.frame;
  byId("frame").setAttribute("aria-valuetext", byId("number").textContent);
}

// Decodes the current frame and draws it, unless another one is wanted by then.
async function show() {
  const number = state.frame;
  writeNumber();
  drawPlot(byId("plot"), number, colours(), themed);
  const [picture, ...flows] = await Promise.all([
    pictureOf(number), ...facts.names.map((name, which) => flowOf(which, number)),
  ]);
  if (number !== state.frame) return;
  shown = { number, picture, flows };
  draw();
}

function failed(error) {
  const missing = typeof DecompressionStream === "undefined";
  byId("trouble").hidden = false;
  byId("trouble").textContent = missing
    ? "This browser is too old for the page: it needs Chrome 80, Safari 16.4, Firefox 113 or newer."
    : `The page cannot be shown: ${error.message}. Make it again with flowcli view.`;
}

function go(number) {
  state.frame = Math.min(Math.max(number, 0), facts.frames.length - 1);
  return show().catch(failed);
}

async function play(on) {
  state.playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  if (!on) return;
  let due = performance.now();
  while (state.playing) {
    const next = (state.frame + 1) % facts.frames.length;
    const wait = next ? facts.frames[next].time - facts.frames[state.frame].time : 0.5;
    due = Math.max(due + 1000 * wait, performance.now());
    await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    if (state.playing) await go(next);
  }
}

function setView(view) {
  state.view = view;
  document.querySelector(`input[name="view"][value="${view}"]`).checked = true;
  draw();
}

function setScale(scale) {
  state.scale = Math.min(Math.max(scale, LOWEST), highest);
  byId("scale").value = (1000 * Math.log(state.scale / LOWEST)) / Math.log(highest / LOWEST);
  byId("full").textContent = `Full colour, longest arrow: ${state.scale.toPrecision(3)} px per frame`;
  draw();
}

function setSplit(split) {
  state.split = Math.min(Math.max(split, 0), 1);
  byId("split").value = 100 * state.split;
  draw();
}

function placeOf(event) {
  const box = canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * facts.width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * facts.height);
  return nearest(x, y);
}

function moveCross(right, down) {
  const { spacing, width, height } = facts;
  state.at = state.at
    ? nearest(state.at.x + right * spacing, state.at.y + down * spacing)
    : nearest((width - 1) / 2, (height - 1) / 2);
  draw();
}

function drop() {
  if (!state.at) return;
  const start = { x: state.at.x, y: state.at.y };
  const point = { frame: state.frame, gone: false, paths: facts.names.map(() => [start]) };
  state.points.push(point);
  writePoints();
  point.paths.forEach((path, which) => follow(point, which, draw).catch(failed));
}

function clearPoints() {
  for (const point of state.points) point.gone = true;
  state.points = [];
  writePoints();
  draw();
}

function writePoints() {
  const count = state.points.length;
  byId("clear").disabled = !count;
  byId("points").textContent = count
    ? `${count} point${count > 1 ? "s" : ""} followed from the frame where dropped`
    : "Click the picture to drop a point and see its track.";
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  drawPlot(byId("plot"), state.frame, colours(), themed);
}

// The picture is as wide as the page, but not higher than most of the window.
function fit() {
  const shape = (facts.width * facts.aspect) / facts.height;
  const width = Math.min(byId("stage").parentElement.clientWidth, 0.62 * window.innerHeight * shape);
  byId("stage").style.width = `${width}px`;
  byId("stage").style.height = `${width / shape}px`;
  show().catch(failed);
}

function explain() {
  for (const [keys, what, actions] of KEYS) {
    if (facts.names.length < 2 && "[" in actions) continue;
    byId("keys").append(tagged("dt", keys), tagged("dd", what));
  }
  const most = facts.error.toFixed(3).replace(/0+$/, "");
  const nth = (number) => `${number}${number === 2 ? "nd" : "th"}`;
  const pixels = facts.spacing > 1 ? `every ${nth(facts.spacing)} pixel across and down` : "every pixel";
  const frames = facts.every > 1
    ? ` of every ${nth(facts.every)} frame. The flow leads to the next frame of the input; tracks take the motion ` +
      "to stay the same in the frames that are left out"
    : "";
  byId("exact").textContent = `Values are kept at ${pixels}${frames}. They are at most ${most} px off the flow itself.`;
  byId("legend").textContent =
    "Strong line: mean speed; pale line: the speed that 95 % of the pixels stay below; grey: cuts. Click to jump.";
}

function listen() {
  byId("frame").max = facts.frames.length - 1;
  byId("frame").addEventListener("input", (event) => go(event.target.valueAsNumber));
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("scale").addEventListener("input", (event) => {
    setScale(LOWEST * (highest / LOWEST) ** (event.target.valueAsNumber / 1000));
  });
  byId("auto").addEventListener("click", () => setScale(suited));
  byId("split").addEventListener("input", (event) => setSplit(event.target.valueAsNumber / 100));
  byId("clear").addEventListener("click", clearPoints);
  byId("views").addEventListener("change", (event) => setView(event.target.value));
  byId("theme").addEventListener("click", () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  });
  canvas.addEventListener("pointermove", (event) => {
    state.at = placeOf(event);
    draw();
  });
  canvas.addEventListener("click", (event) => {
    state.at = placeOf(event);
    drop();
    draw();
  });
  const jump = (event) => {
    const box = byId("plot").getBoundingClientRect();
    go(plotFrame((event.clientX - box.left) / box.width));
  };
  byId("plot").addEventListener("click", jump);
  byId("plot").addEventListener("pointermove", (event) => event.buttons && jump(event));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const type = event.target.type;
    // Sliders, radio buttons and buttons have their own use for these keys.
    if ((type === "range" || type === "radio") && /^(Arrow|Home|End)/.test(event.key)) return;
    if (event.key === " " && ["BUTTON", "SUMMARY", "INPUT"].includes(event.target.tagName) && type !== "range") return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = KEYS.map((row) => row[2][key]).find(Boolean);
    if (!action) return;
    event.preventDefault();
    action(event);
  });
  window.addEventListener("resize", fit);
}

function begin() {
  const two = facts.names.length > 1;
  byId("left").textContent = facts.names[0];
  byId("right").textContent = facts.names[1] ?? "";
  byId("right").hidden = byId("divide").hidden = !two;
  for (const view of facts.pictures ? [] : ["overlay", "picture"]) {
    document.querySelector(`input[name="view"][value="${view}"]`).parentElement.hidden = true;
  }
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  explain();
  listen();
  setTheme(dark.matches ? "dark" : "light");
  drawWheel(byId("wheel"));
  writePoints();
  setScale(suited);
  fit();
}

begin();
