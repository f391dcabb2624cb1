"use strict";

// The weights of an objective, worked out here. Operations mean what they mean in goal_analysis.symbolic.proof.evaluation.
const OPERATIONS = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  neg: (a) => -a,
  pow: Math.pow,
  sqrt: Math.sqrt,
  exp: Math.exp,
  log: Math.log,
  sin: Math.sin,
  cos: Math.cos,
  acos: Math.acos,
  atan: Math.atan,
  erf,
  hinge: (a) => (a > 0 ? a : a <= 0 ? 0 : NaN),
  step: (a) => (a > 0 ? 1 : a < 0 ? 0 : a === 0 ? 0.5 : NaN),
  sigmoid: (a) => (a >= 0 ? 1 / (1 + Math.exp(-a)) : Math.exp(a) / (1 + Math.exp(a))),
  softplus: (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))),
  logsumexp: (...xs) => {
    const top = Math.max(...xs);
    return Math.abs(top) === Infinity ? top : top + Math.log(xs.reduce((total, x) => total + Math.exp(x - top), 0));
  },
};

function erf(x) {
  const size = Math.abs(x);
  if (size > 6) return Math.sign(x);
  if (size < 2.5) {
    let term = x, total = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(total); n++) {
      term *= (2 * x * x) / (2 * n + 1);
      total += term;
    }
    return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total;
  }
  let below = size; // the continued fraction of the complement
  for (let n = 60; n > 0; n--) below = size + n / 2 / below;
  return Math.sign(x) * (1 - Math.exp(-x * x) / (Math.sqrt(Math.PI) * below));
}

/** The outputs of a program; an input is a number, or numbers of one length. */
function evaluate(program, inputs) {
  const values = [...inputs];
  const at = (value, i) => (typeof value === "number" ? value : value[i]);
  for (const step of program.steps) {
    if (typeof step === "number") {
      values.push(step);
      continue;
    }
    const [a, b, ...others] = step.slice(1).map((place) => values[place]);
    const operation = OPERATIONS[step[0]];
    const long = [a, b, ...others].find((value) => value !== undefined && typeof value !== "number");
    const one = (i) => {
      if (b === undefined) return operation(at(a, i));
      if (others.length) return operation(at(a, i), at(b, i), ...others.map((value) => at(value, i)));
      return operation(at(a, i), at(b, i));
    };
    values.push(long === undefined ? one(0) : Float64Array.from(long, (_, i) => one(i)));
  }
  return program.outputs.map((place) => values[place]);
}

// --- the scale of goal_analysis.pictures.style ---

function quantile(sorted, share) {
  const place = share * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

const sizesOf = (values) => Float64Array.from(values, Math.abs).filter(Number.isFinite).sort();

function topOf(values, peak) {
  const sizes = sizesOf(values);
  if (!sizes.length) return [0, false];
  const top = sizes.at(-1), most = quantile(sizes, 0.99);
  return top > peak * most && most > 0 ? [most, true] : [top, false];
}

const short = (x) => String(Number(x.toPrecision(2)));

function scaleOf(values, signed, rule) {
  const finite = Float64Array.from(values).filter(Number.isFinite);
  const sizes = sizesOf(finite).filter((size) => size > 0);
  const same = (x) => x;
  if (!sizes.length) return { low: signed ? -1 : 0, high: 1, kind: "linear", levels: [], note: "", even: same };
  signed ||= finite.some((x) => x < 0);
  const linear = quantile(sizes, 0.95) <= 10 ** rule.decades * quantile(sizes, 0.05);
  const [top, clipped] = topOf(finite, linear ? rule.peak : 10 ** rule.decades);
  if (linear) {
    const low = signed ? -top : 0, apart = (top - low) / (rule.contours + 1);
    const levels = Array.from({ length: rule.contours }, (_, i) => low + (i + 1) * apart);
    const note = clipped ? `clipped ${signed ? "beyond ±" : "above "}${short(top)}` : "";
    return { low, high: top, kind: "linear", levels, note, even: same };
  }
  const floor = top / 10 ** rule.decades, powers = [];
  const last = Math.floor(Math.log10(top) - 1e-9);
  for (let n = Math.ceil(Math.log10(floor) + 1e-9); n <= last; n++) powers.push(10 ** n);
  const even = (x) => {
    const size = Math.abs(x) / floor;
    return Math.sign(x) * (size < 1 ? size : 1 + Math.log10(size));
  };
  if (!signed) {
    const note = `log scale, clipped below ${short(floor)}${clipped ? ` and above ${short(top)}` : ""}`;
    return { low: floor, high: top, kind: "log", levels: powers, note, even };
  }
  const note = `symlog scale, linear within ±${short(floor)}${clipped ? `, clipped beyond ±${short(top)}` : ""}`;
  return { low: -top, high: top, kind: "symlog", levels: powers, note, even };
}

// --- what is drawn ---

function centres({ span: [low, high], count }, off) {
  return Array.from({ length: count }, (_, i) => low + (high - low) * ((i + 0.5) / count + off));
}

/** Lines of arrows along (w⁺, −w⁻), where descent moves (s_p, s_n). */
function arrows(across, up, wP, wN, { every }, rule) {
  const x = [], y = [], some = [];
  const apart = 0.95 * every * (across[1] - across[0]);
  for (let j = every >> 1; j < up.length; j += every)
    for (let i = every >> 1; i < across.length; i += every) {
      const place = j * across.length + i, size = Math.hypot(wP[place], wN[place]);
      if (Number.isFinite(size) && size > 0) some.push([across[i], up[j], wP[place], -wN[place], size]);
    }
  const [longest] = topOf(some.map((one) => one[4]), rule.peak);
  for (const [s, t, u, v, size] of some) {
    const long = (apart * Math.sqrt(Math.min(size / longest, 1))) / size;
    const [du, dv] = [u * long, v * long], tip = [s + du / 2, t + dv / 2];
    const barb = (turn) => [
      tip[0] - 0.3 * (du * Math.cos(turn) - dv * Math.sin(turn)),
      tip[1] - 0.3 * (du * Math.sin(turn) + dv * Math.cos(turn)),
    ];
    const points = [[s - du / 2, t - dv / 2], tip, barb(0.35), tip, barb(-0.35), [null, null]];
    for (const [a, b] of points) x.push(a), y.push(b);
  }
  return { x, y };
}

/** The share of values that are smaller, ties in the middle: between lines that are equally far apart by it lies as much. */
function ranks(values) {
  const finite = values.filter(Number.isFinite);
  const reach = Math.max(...finite) - Math.min(...finite) || 1;
  const rounded = Array.from(values, (x) => Math.round((x / reach) * 1e9));
  const order = rounded.map((_, i) => i).filter((i) => Number.isFinite(rounded[i])).sort((a, b) => rounded[a] - rounded[b]);
  const found = new Array(values.length).fill(null);
  for (let first = 0, next; first < order.length; first = next) {
    for (next = first; next < order.length && rounded[order[next]] === rounded[order[first]]; ) next++;
    for (let i = first; i < next; i++) found[order[i]] = (first + next + 1) / 2 / order.length;
  }
  return found;
}

/** What a chart changes for these values of its sliders: attributes of all traces, and of the layout. */
function surfaces(spec, settings) {
  const { program, names, grid, rule, colours, scales } = spec.live;
  const across = centres(grid, grid.off[0]), up = centres(grid, grid.off[1]);
  const sP = up.flatMap(() => across), sN = up.flatMap((s) => across.map(() => s));
  const found = evaluate(program, [sP, sN, ...settings]).map((one) => (typeof one === "number" ? sP.map(() => one) : one));
  const rows = (values) => up.map((_, j) => Array.from(values.slice(j * across.length, (j + 1) * across.length), (x) => (Number.isFinite(x) ? x : null)));
  const places = { x: across, y: up };
  const traces = [], layout = {};
  ["coloraxis", "coloraxis2", "coloraxis3"].forEach((axis, number) => {
    const values = found[number], scale = scaleOf(values, number === 2, rule), linear = scale.kind === "linear";
    const z = rows(Float64Array.from(values, scale.even)), value = linear ? "%{z:.3g}" : "%{text}";
    const text = linear ? null : rows(values).map((row) => row.map((x) => (x === null ? "" : String(Number(x.toPrecision(3))))));
    const hovertemplate = `s_p %{x:.2f}, s_n %{y:.2f}<br>${["w⁺", "w⁻", "curl"][number]} ${value}<extra></extra>`;
    traces.push({ ...places, z, text, hovertemplate });
    const levels = scale.levels.map(scale.even), lined = scale.kind !== "symlog" && levels.length > 1;
    const [start, end, size] = lined ? [levels[0], levels.at(-1), levels[1] - levels[0]] : [0, 1, 1];
    if (number === 2) traces.push(arrows(across, up, found[0], found[1], grid, rule));
    else traces.push({ ...places, z, contours: { start, end, size, showlines: lined, coloring: "none" } });
    const powers = scale.kind === "symlog" ? scale.levels.slice(1) : scale.levels;
    const marks = linear ? null : scale.kind === "log" ? powers : [...powers.map((x) => -x).reverse(), 0, ...powers];
    Object.assign(layout, {
      [`${axis}.cmin`]: scale.even(scale.low),
      [`${axis}.cmax`]: scale.even(scale.high),
      [`${axis}.colorscale`]: colours[scales[scale.low < 0 ? 1 : 0]],
      [`${axis}.colorbar.tickvals`]: marks && marks.map(scale.even),
      [`${axis}.colorbar.ticktext`]: marks && marks.map((x) => String(Number(x.toPrecision(6)))),
      [`${axis}.colorbar.title.text`]: scale.note.replace(", clipped beyond", ",<br>clipped beyond"),
    });
  });
  if (names.includes("potential")) {
    const contours = { start: 0.1, end: 0.9, size: 0.1, coloring: "none" };
    traces.push({ ...places, z: rows(ranks(Array.from(found[3]))), contours });
  }
  const attributes = {};
  for (const name of new Set(traces.flatMap(Object.keys))) attributes[name] = traces.map((trace) => trace[name]);
  return [attributes, layout, traces.map((_, i) => i)];
}

// --- what is moved ---

function element(name, attributes = {}, ...inside) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...inside);
  return made;
}

/** Sliders for all hyperparameters, the weights at one triplet, and the line that says the objective. */
function control(chart) {
  const { live } = chart.spec, places = 400;
  const settings = live.sliders.map((one) => one.value);
  const output = element("output"), code = element("code");
  const at = live.grid.span.map((_, side) =>
    element("input", { type: "number", step: "any", value: [0.75, 0.5][side] * live.grid.span[1] + [0.25, 0.5][side] * live.grid.span[0] }));
  const read = () => {
    const found = evaluate(live.program, [...at.map((input) => input.valueAsNumber), ...settings]);
    output.value = ["w⁺", "w⁻", "curl"].map((name, i) => `${name} = ${Number(found[i].toPrecision(6))}`).join(", ");
    output.dataset.numbers = JSON.stringify(found);
  };
  const write = () => {
    const { text, head, words, rest } = live.line;
    const own = { ...live.fixed, ...Object.fromEntries(live.sliders.map((one, i) => [one.name, settings[i]])) };
    const said = [...Object.entries(own).map(([name, value]) => `${name}=${value}`), ...words];
    const line = `${head}${said.length ? ":" : ""}${said}${rest}`;
    code.textContent = head
      ? `goal-analyze train --preset bag_of_words --data data/f30k_precomp --objective ${line}\nga.train("data/f30k_precomp", "${line}")`
      : `ga.train("data/f30k_precomp", ga.objective(${[JSON.stringify(text), ...said].join(", ")}))`;
  };
  let drawing = Promise.resolve(), waiting = false;
  const redraw = () => {
    read();
    write();
    if (waiting) return;
    waiting = true; // what is moved meanwhile is drawn at once
    drawing = drawing.then(() => ((waiting = false), Plotly.update(chart, ...surfaces(chart.spec, settings))));
  };
  const rows = live.sliders.map((one, i) => {
    const log = one.low > 0;
    const value = (place) => {
      const share = place / places;
      const x = log ? one.low * (one.high / one.low) ** share : one.low + (one.high - one.low) * share;
      return Number(x.toPrecision(3));
    };
    const place = (x) => Math.round(places * (log ? Math.log(x / one.low) / Math.log(one.high / one.low) : (x - one.low) / (one.high - one.low)));
    const range = element("input", { type: "range", min: 0, max: places, value: place(one.value), ariaLabel: one.name, ariaValueText: String(one.value) });
    const number = element("input", { type: "number", step: "any", value: one.value, ariaLabel: `${one.name}, a number in ${one.domain}` });
    const take = (x) => {
      settings[i] = x;
      range.ariaValueText = String(x);
      redraw();
    };
    range.addEventListener("input", () => {
      number.value = value(range.valueAsNumber);
      number.setCustomValidity("");
      take(number.valueAsNumber);
    });
    number.addEventListener("input", () => {
      const x = number.valueAsNumber, { min = -Infinity, max = Infinity } = one.ends;
      const inside = (one.open.min ? x > min : x >= min) && (one.open.max ? x < max : x <= max) && Number.isFinite(x);
      number.setCustomValidity(inside ? "" : `got ${number.value || "nothing"} but expected a number in ${one.domain}`);
      number.reportValidity();
      if (!inside) return;
      range.value = place(x);
      take(x);
    });
    return element("div", { className: "slider", title: one.meaning }, element("span", {}, one.name), range, number);
  });
  at.forEach((input, side) => {
    input.ariaLabel = ["s_p", "s_n"][side];
    input.addEventListener("input", read);
  });
  const reading = element("p", { className: "reading" }, "At s_p = ", at[0], " and s_n = ", at[1], ": ", output);
  const line = element("pre", { tabIndex: 0, className: "line", title: "one click selects a line to copy" }, code);
  chart.after(element("div", { className: "live" }, ...rows, reading, line));
  redraw();
  return drawing;
}
