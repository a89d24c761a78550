// The picture with its flow, drawn on a canvas.

const RAMPS = [[15, 0, 1], [6, 1, 0], [4, 1, 2], [11, 2, 1], [13, 2, 0], [6, 0, 2]];

// The Middlebury colour wheel of Baker et al. 2011, as flowcli/draw/color.py has it: (55, 3).
function makeWheel() {
  const colours = [];
  RAMPS.forEach(([steps, full, changing], number) => {
    for (let step = 0; step < steps; step++) {
      const colour = [0, 0, 0];
      const ramp = Math.floor((step * 255) / steps);
      colour[full] = 255;
      colour[changing] = number % 2 ? 255 - ramp : ramp;
      colours.push(colour);
    }
  });
  return colours;
}

const WHEEL = makeWheel();
const OPACITY = 0.8; // Of the fastest colours of an overlay.
const DOT = 0.15; // Arrows shorter than this share of the longest are dots.

// Writes the full colour of a direction to pixels[place...].
function paintHue(pixels, place, u, v) {
  const turn = ((Math.atan2(-v, -u) / Math.PI + 1) / 2) * (WHEEL.length - 1);
  const below = Math.floor(turn) % WHEEL.length;
  const above = (below + 1) % WHEEL.length;
  const share = turn - Math.floor(turn);
  for (let channel = 0; channel < 3; channel++) {
    pixels[place + channel] = (1 - share) * WHEEL[below][channel] + share * WHEEL[above][channel];
  }
}

// The colour of a vector: white for no motion, full at the scale. over: full colours, as opaque as it is fast.
function paint(pixels, place, u, v, scale, over) {
  const strength = Math.min(Math.hypot(u, v) / scale, 1);
  paintHue(pixels, place, u, v);
  for (let channel = 0; channel < 3 && !over; channel++) {
    pixels[place + channel] = 255 - strength * (255 - pixels[place + channel]);
  }
  pixels[place + 3] = over ? 255 * OPACITY * strength : 255;
}

function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

// A canvas with a pixel for each kept vector. Unknown ones are black, or clear over the frame.
function coloured(flow, scale, over) {
  const canvas = newCanvas(gridWidth, gridHeight);
  const image = new ImageData(gridWidth, gridHeight);
  const count = gridWidth * gridHeight;
  for (let place = 0; place < count; place++) {
    const u = flow.levels[place];
    if (u !== UNKNOWN) {
      paint(image.data, 4 * place, u * flow.step, flow.levels[count + place] * flow.step, scale, over);
    } else if (!over) {
      image.data[4 * place + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

const lastColoured = []; // For each of the flows: what it was made of, and the canvas.

// The same, made anew only if the flow or the way to show it has changed.
function colouredOnce(which, flow, scale, over) {
  const last = lastColoured[which];
  if (last && last.flow === flow && last.scale === scale && last.over === over) return last.canvas;
  const canvas = coloured(flow, scale, over);
  lastColoured[which] = { flow, scale, over, canvas };
  return canvas;
}

// Draws one of the flows over the whole canvas. to: turns x and y of the source into places on the canvas.
function drawFlow(context, picture, which, flow, state, to) {
  const { width, height } = context.canvas;
  const dims = state.view === "arrows" && picture ? 0.55 : 1;
  context.fillStyle = state.view === "colour" && !flow ? "#444" : "#000";
  context.fillRect(0, 0, width, height);
  if (picture && (state.view !== "colour" || !flow)) {
    context.globalAlpha = flow ? dims : 0.5;
    context.drawImage(picture, 0, 0, width, height);
    context.globalAlpha = 1;
  }
  if (!flow || state.view === "picture") return;
  if (state.view === "arrows") {
    drawArrows(context, flow, state.scale, to);
    return;
  }
  const half = facts.spacing / 2;
  const [left, top] = to(-half, -half);
  const [right, bottom] = to(gridWidth * facts.spacing - half, gridHeight * facts.spacing - half);
  const colours = colouredOnce(which, flow, state.scale, state.view === "overlay");
  context.drawImage(colours, left, top, right - left, bottom - top);
}

// The longest arrows are those of the scale and above, and as long as the distance between two.
function drawArrows(context, flow, scale, to) {
  const { width, height } = context.canvas;
  const apart = Math.max(18 * window.devicePixelRatio, Math.sqrt(width * height) / 28);
  const columns = Math.max(1, Math.round(width / apart));
  const rows = Math.max(1, Math.round(height / apart));
  const colour = [0, 0, 0, 0];
  context.lineCap = "round";
  context.lineJoin = "round";
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const at = [((column + 0.5) * facts.width) / columns - 0.5, ((row + 0.5) * facts.height) / rows - 0.5];
      const vector = vectorBetween(flow, ...at);
      if (vector === null) continue;
      const speed = Math.hypot(vector.u, vector.v);
      const length = Math.min(speed / scale, 1);
      const [x, y] = to(...at);
      paint(colour, 0, vector.u, vector.v, Math.max(speed * 1.3, scale / 2), false);
      const style = `rgb(${colour.slice(0, 3).map(Math.round).join(" ")})`;
      if (length < DOT) drawDot(context, x, y, apart / 18, style);
      else drawArrow(context, x, y, (vector.u / speed) * length * apart, (vector.v / speed) * length * apart, style);
    }
  }
}

function drawDot(context, x, y, radius, style) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = style;
  context.strokeStyle = "#000";
  context.lineWidth = radius / 2;
  context.stroke();
  context.fill();
}

function drawArrow(context, x, y, along, down, style) {
  const head = Math.min(0.4 * Math.hypot(along, down), 8 * window.devicePixelRatio);
  const angle = Math.atan2(down, along);
  const tip = [x + along, y + down];
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(...tip);
  for (const side of [-0.5, 0.5]) {
    context.moveTo(...tip);
    context.lineTo(tip[0] - head * Math.cos(angle + side), tip[1] - head * Math.sin(angle + side));
  }
  for (const [colour, line] of [["#000", 3.5], [style, 1.8]]) {
    context.strokeStyle = colour;
    context.lineWidth = line * window.devicePixelRatio;
    context.stroke();
  }
}

// The tracks of all points up to this frame, paler where they go from here. colours: of the two flows.
function drawTracks(context, points, number, colours, to) {
  const unit = window.devicePixelRatio;
  const line = (places, style, thick, alpha) => {
    if (places.length < 2) return;
    context.beginPath();
    for (const { x, y } of places) context.lineTo(...to(x, y));
    context.globalAlpha = alpha;
    context.strokeStyle = style;
    context.lineWidth = thick * unit;
    context.stroke();
    context.globalAlpha = 1;
  };
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const point of points) {
    point.paths.forEach((path, which) => {
      const here = number - point.frame;
      if (here < 0) return;
      line(path, "#000", 4, 0.25);
      line(path, colours[which], 1.5, 0.8);
      line(path.slice(0, here + 1), "#000", 5, 0.8);
      line(path.slice(0, here + 1), colours[which], 2.5, 1);
      if (here < path.length) drawDot(context, ...to(path[here].x, path[here].y), 4.5 * unit, colours[which]);
    });
  }
}

// A cross at the pixel whose flow is shown, and lines to where it goes.
function drawTarget(context, at, ends, colours, to) {
  const unit = window.devicePixelRatio;
  const [x, y] = to(at.x, at.y);
  const arm = 8 * unit;
  for (const [style, thick] of [["#000", 3.5], ["#fff", 1.5]]) {
    context.beginPath();
    context.moveTo(x - arm, y);
    context.lineTo(x + arm, y);
    context.moveTo(x, y - arm);
    context.lineTo(x, y + arm);
    context.strokeStyle = style;
    context.lineWidth = thick * unit;
    context.stroke();
  }
  ends.forEach((end, which) => {
    if (!end) return;
    const [right, below] = to(end.x, end.y);
    if (Math.hypot(right - x, below - y) > 2 * unit) drawArrow(context, x, y, right - x, below - y, colours[which]);
  });
}

function drawWheel(canvas) {
  const size = canvas.width;
  const image = new ImageData(size, size);
  const middle = (size - 1) / 2;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (Math.hypot(x - middle, y - middle) <= middle) {
        paint(image.data, 4 * (y * size + x), x - middle, y - middle, middle, false);
      }
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
