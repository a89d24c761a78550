// Speed over time, from the same figures as `flowcli stats`.

const LINES = [["speed_mean", 1], ["speed_p95", 0.45]];

function fitted(canvas) {
  const width = Math.max(1, Math.round(canvas.clientWidth * window.devicePixelRatio));
  const height = Math.max(1, Math.round(canvas.clientHeight * window.devicePixelRatio));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  return canvas.getContext("2d");
}

// Where a frame is in the plot, and which frame is at a place; both from 0 to 1 across.
const plotPlace = (number) => (number + 0.5) / facts.frames.length;
const plotFrame = (place) => Math.min(Math.max(Math.floor(place * facts.frames.length), 0), facts.frames.length - 1);

// The 95th percentiles of speed of all frames, from slow to fast.
const speeds = facts.frames.flatMap((frame) => frame.speed_p95 ?? []).filter((speed) => speed !== null);
speeds.sort((one, other) => one - other);
const fastest = () => speeds.at(-1) ?? 0;
// Four frames in five are not faster: a few that are shall not make all others pale.
const typical = () => speeds[Math.floor(0.8 * (speeds.length - 1))] ?? 0;

function drawPlot(canvas, number, colours, style) {
  const context = fitted(canvas);
  const { width, height } = canvas;
  const unit = window.devicePixelRatio;
  const top = fastest() || 1;
  const words = 18 * unit; // What they take above the lines.
  const place = (speed) => height - 3 * unit - (speed / top) * (height - 5 * unit - words);
  context.clearRect(0, 0, width, height);
  context.fillStyle = style("--line");
  facts.frames.forEach((frame, at) => {
    if (frame.cut && at > 0) context.fillRect((at / facts.frames.length) * width, 0, 2 * unit, height);
  });
  colours.forEach((colour, which) => {
    for (const [column, alpha] of LINES) {
      context.beginPath();
      let drawing = false;
      facts.frames.forEach((frame, at) => {
        const speed = frame[column]?.[which] ?? null;
        if (speed === null) {
          drawing = false;
          return;
        }
        const [x, y] = [plotPlace(at) * width, place(speed)];
        // A frame between others without flow is a line without length, which round ends make a dot.
        if (!drawing) context.moveTo(x, y);
        context.lineTo(x, y);
        drawing = true;
      });
      context.globalAlpha = alpha;
      context.lineCap = "round";
      context.lineWidth = 2 * unit;
      context.strokeStyle = colour;
      context.stroke();
      context.globalAlpha = 1;
    }
  });
  context.fillStyle = style("--text");
  context.fillRect(plotPlace(number) * width - unit, 0, 2 * unit, height);
  context.font = `${12 * unit}px system-ui, sans-serif`;
  context.fillStyle = style("--soft");
  context.textBaseline = "top";
  context.fillText(`${top.toFixed(1)} px per frame`, 4 * unit, 3 * unit);
}
