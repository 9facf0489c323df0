"use strict";
// Runs a network: a list of operations on arrays, as program.py writes it.
// An array is {shape, data, kind}; kind is f, i or b for reals, integers, booleans.
const Program = (() => {
  const make = { f: n => new Float32Array(n), i: n => new Int32Array(n), b: n => new Uint8Array(n) };
  const size = shape => shape.reduce((a, b) => a * b, 1);
  const array = (shape, kind) => ({ shape, kind, data: make[kind](size(shape)) });

  function strides(shape) {
    const found = new Array(shape.length);
    for (let axis = shape.length - 1, step = 1; axis >= 0; axis--) {
      found[axis] = step;
      step *= shape[axis];
    }
    return found;
  }

  // Offsets of all elements of a box, in order, where axis k moves by steps[k].
  function offsets(shape, steps) {
    const total = size(shape), found = new Int32Array(total), index = shape.map(() => 0);
    for (let n = 0, offset = 0; n < total; n++) {
      found[n] = offset;
      for (let axis = shape.length - 1; axis >= 0; axis--) {
        offset += steps[axis];
        if (++index[axis] < shape[axis]) break;
        offset -= steps[axis] * shape[axis];
        index[axis] = 0;
      }
    }
    return found;
  }

  function erf(x) { // the series, and a continued fraction of its complement
    const t = Math.abs(x);
    if (t < 2.5) {
      let term = t, sum = t;
      for (let n = 1; n < 60; n++) {
        term *= -t * t / n;
        sum += term / (2 * n + 1);
      }
      return Math.sign(x) * sum * 2 / Math.sqrt(Math.PI);
    }
    let fraction = 0;
    for (let n = 40; n > 0; n--) fraction = n / 2 / (t + fraction);
    return Math.sign(x) * (1 - Math.exp(-t * t) / Math.sqrt(Math.PI) / (t + fraction));
  }

  function evenRound(x) {
    const r = Math.round(x);
    return Math.abs(x % 1) === 0.5 && r % 2 !== 0 ? r - 1 : r;
  }

  const unary = {
    abs: Math.abs, acos: Math.acos, asin: Math.asin, atan: Math.atan, cbrt: Math.cbrt,
    ceil: Math.ceil, cos: Math.cos, cosh: Math.cosh, erf, exp: Math.exp,
    exp2: x => 2 ** x, expm1: Math.expm1, floor: Math.floor,
    is_finite: x => Number.isFinite(x) ? 1 : 0, log: Math.log, log1p: Math.log1p,
    logistic: x => 1 / (1 + Math.exp(-x)), neg: x => -x, round: evenRound,
    rsqrt: x => 1 / Math.sqrt(x), sign: Math.sign, sin: Math.sin, sinh: Math.sinh,
    sqrt: Math.sqrt, square: x => x * x, tan: Math.tan, tanh: Math.tanh,
  };
  const both = { // of two arrays; for booleans and integers alike
    add: (a, b) => a + b, atan2: Math.atan2, div: (a, b) => a / b,
    eq: (a, b) => a === b ? 1 : 0, ge: (a, b) => a >= b ? 1 : 0,
    gt: (a, b) => a > b ? 1 : 0, le: (a, b) => a <= b ? 1 : 0,
    lt: (a, b) => a < b ? 1 : 0, max: Math.max, min: Math.min, mul: (a, b) => a * b,
    ne: (a, b) => a !== b ? 1 : 0, pow: Math.pow, rem: (a, b) => a % b,
    sub: (a, b) => a - b, and: (a, b) => a & b, or: (a, b) => a | b, xor: (a, b) => a ^ b,
  };
  const folds = {
    reduce_sum: [() => 0, (a, b) => a + b], reduce_prod: [() => 1, (a, b) => a * b],
    reduce_max: [() => -Infinity, Math.max], reduce_min: [() => Infinity, Math.min],
    reduce_or: [() => 0, (a, b) => a | b], reduce_and: [() => -1, (a, b) => a & b],
  };

  // The data of an array, repeated along axes of size one until it has a shape.
  function spread(a, shape) {
    const total = size(shape);
    if (a.data.length === total) return a.data;
    if (a.data.length === 1) return make[a.kind](total).fill(a.data[0]);
    const own = strides(a.shape).map((step, n) => a.shape[n] > 1 ? step : 0);
    const out = array(shape, a.kind);
    gathered(a, own, out);
    return out.data;
  }

  function gathered(a, steps, into) {
    const from = offsets(into.shape, steps);
    for (let n = 0; n < from.length; n++) into.data[n] = a.data[from[n]];
  }

  // Offsets of what a matmul multiplies; they are the same in every step.
  function contraction(row, a, b) {
    const pick = (t, axes) => offsets(axes.map(x => t.shape[x]), axes.map(x => strides(t.shape)[x]));
    const free = (t, side) => t.shape.map((_, n) => n).filter(
      n => !row.contract[side].includes(n) && !row.batch[side].includes(n));
    const columns = pick(b, free(b, 1));
    return {
      batches: [pick(a, row.batch[0]), pick(b, row.batch[1])],
      inner: [pick(a, row.contract[0]), pick(b, row.contract[1])],
      rows: pick(a, free(a, 0)), columns, dense: columns.every((x, n) => x === n),
    };
  }

  const special = {
    same(row, [a], [out]) { out.data.set(a.data); },
    not(row, [a], [out]) {
      out.data.set(a.data.map(out.kind === "b" ? x => 1 - x : x => ~x));
    },
    integer_pow(row, [a], [out]) { out.data.set(a.data.map(x => x ** row.power)); },
    select_n(row, [which, ...cases], [out]) {
      const index = spread(which, out.shape), from = cases.map(a => spread(a, out.shape));
      for (let n = 0; n < out.data.length; n++) out.data[n] = from[index[n]][n];
    },
    broadcast_in_dim(row, [a], [out]) {
      const own = strides(a.shape), steps = out.shape.map(() => 0);
      row.axes.forEach((axis, n) => { if (a.shape[n] > 1) steps[axis] = own[n]; });
      gathered(a, steps, out);
    },
    transpose(row, [a], [out]) {
      const own = strides(a.shape);
      gathered(a, row.axes.map(axis => own[axis]), out);
    },
    slice(row, [a], [out]) {
      const own = strides(a.shape);
      const first = row.starts.reduce((sum, start, n) => sum + start * own[n], 0);
      const moved = { data: a.data.subarray(first) };
      gathered(moved, row.steps.map((step, n) => step * own[n]), out);
    },
    dynamic_slice(row, [a, ...starts], [out]) {
      const own = strides(a.shape);
      const first = starts.reduce((sum, start, n) =>
        sum + own[n] * Math.min(a.shape[n] - out.shape[n], Math.max(0, start.data[0])), 0);
      gathered({ data: a.data.subarray(first) }, own, out);
    },
    split(row, [a], outs) {
      const own = strides(a.shape);
      let start = 0;
      for (const out of outs) {
        gathered({ data: a.data.subarray(start * own[row.axis]) }, own, out);
        start += out.shape[row.axis];
      }
    },
    pad(row, [a, value], [out]) {
      const own = strides(out.shape), to = offsets(a.shape, own);
      const first = row.before.reduce((sum, before, n) => sum + before * own[n], 0);
      out.data.fill(value.data[0]);
      for (let n = 0; n < to.length; n++) out.data[first + to[n]] = a.data[n];
    },
    concatenate(row, given, [out]) {
      const own = strides(out.shape);
      let start = 0;
      for (const a of given) {
        const to = offsets(a.shape, own), first = start * own[row.axis];
        for (let n = 0; n < to.length; n++) out.data[first + to[n]] = a.data[n];
        start += a.shape[row.axis];
      }
    },
    argmax(row, [a], [out]) {
      const [axis] = row.axes, own = strides(a.shape), length = a.shape[axis];
      const others = (_, n) => n !== axis;
      const from = offsets(a.shape.filter(others), own.filter(others));
      from.forEach((first, n) => {
        let best = 0;
        for (let k = 1; k < length; k++)
          if (a.data[first + k * own[axis]] > a.data[first + best * own[axis]]) best = k;
        out.data[n] = best;
      });
    },
    reduce(row, [a], [out]) {
      const own = strides(a.shape), inside = (_, n) => row.axes.includes(n);
      const outside = (_, n) => !row.axes.includes(n);
      const [start, fold] = folds[row.op];
      const from = offsets(a.shape.filter(outside), own.filter(outside));
      const along = offsets(a.shape.filter(inside), own.filter(inside));
      from.forEach((first, n) => {
        let total = start();
        for (const step of along) total = fold(total, a.data[first + step]);
        out.data[n] = total;
      });
    },
    dot_general(row, [a, b], [out]) {
      const { batches, inner, rows, columns, dense } = row.plan ??= contraction(row, a, b);
      const sums = new Float64Array(columns.length), x = a.data, y = b.data;
      let place = 0;
      for (let batch = 0; batch < batches[0].length; batch++)
        for (const first of rows) {
          sums.fill(0);
          for (let k = 0; k < inner[0].length; k++) {
            const factor = x[batches[0][batch] + first + inner[0][k]];
            const start = batches[1][batch] + inner[1][k];
            if (dense) for (let n = 0; n < sums.length; n++) sums[n] += factor * y[start + n];
            else for (let n = 0; n < sums.length; n++) sums[n] += factor * y[start + columns[n]];
          }
          out.data.set(sums, place);
          place += sums.length;
        }
    },
    gather(row, [a, index], [out]) {
      const own = strides(a.shape), last = index.shape.length - 1;
      const width = index.shape[last];
      const box = row.sizes.filter((_, n) => !row.collapsed.includes(n));
      const inside = offsets(box, own.filter((_, n) => !row.collapsed.includes(n)));
      const steps = strides(out.shape);
      const outer = (_, n) => !row.offset.includes(n);
      const to = offsets(out.shape.filter(outer), steps.filter(outer));
      const spread = offsets(box, row.offset.map(n => steps[n]));
      to.forEach((target, n) => {
        let first = 0;
        row.starts.forEach((axis, k) => {
          const most = a.shape[axis] - row.sizes[axis];
          first += own[axis] * Math.min(most, Math.max(0, index.data[n * width + k]));
        });
        for (let k = 0; k < inside.length; k++)
          out.data[target + spread[k]] = a.data[first + inside[k]];
      });
    },
  };

  // Runs the body of a loop for each step; the first outputs are the last carry.
  function scan(row, given, outs, values) {
    let carry = given.slice(0, row.carry);
    const read = (a, step) => {
      const shape = a.shape.slice(1), length = size(shape);
      return { shape, kind: a.kind, data: a.data.subarray(step * length, (step + 1) * length) };
    };
    for (let n = 0; n < row.length; n++) {
      const step = row.reverse ? row.length - 1 - n : n;
      const now = [...carry, ...given.slice(row.carry).map(a => read(a, step))];
      row.inner.forEach((number, k) => { values[number] = now[k]; });
      for (const inner of row.body) execute(inner, values);
      const results = row.results.map(number => values[number]);
      carry = results.slice(0, row.carry);
      results.slice(row.carry).forEach((a, k) => outs[row.carry + k].data.set(a.data, step * a.data.length));
    }
    carry.forEach((a, k) => outs[k].data.set(a.data));
  }

  function execute(row, values) {
    const given = row.in.map(number => values[number]);
    const outs = row.shapes.map((shape, n) => array(shape, row.kinds?.[n] ?? row.kind));
    if (row.op === "scan") scan(row, given, outs, values);
    row.out.forEach((number, n) => { values[number] = outs[n]; });
    if (row.op === "scan") return;
    const [out] = outs, [a, b] = given;
    if (row.op in unary) {
      const f = unary[row.op];
      for (let n = 0; n < out.data.length; n++) out.data[n] = f(a.data[n]);
    } else if (row.op in both) {
      const f = both[row.op], x = spread(a, out.shape), y = spread(b, out.shape);
      for (let n = 0; n < out.data.length; n++) out.data[n] = f(x[n], y[n]);
    } else special[row.op in folds ? "reduce" : row.op](row, given, outs);
  }

  function half(bits) { // the value of a float16
    const power = bits >> 10 & 31, rest = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (power === 31) return rest ? NaN : sign * Infinity;
    return sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
  }

  function decode(content) {
    const text = atob(content.data), bytes = new Uint8Array(text.length);
    for (let n = 0; n < text.length; n++) bytes[n] = text.charCodeAt(n);
    const kind = { f4: "f", f2: "f", i4: "i", u1: "b" }[content.type];
    const view = { f4: Float32Array, f2: Uint16Array, i4: Int32Array, u1: Uint8Array };
    const raw = new view[content.type](bytes.buffer);
    const data = content.type === "f2" ? Float32Array.from(raw, half) : raw;
    return { shape: content.shape, kind, data };
  }

  // Returns {run(arrays) -> arrays}; of a step also start(name) -> state and
  // step(state, id) -> {state, logits}.
  return function (content) {
    const known = [];
    for (const constant of content.constants) known[constant.number] = decode(constant);
    for (const row of content.setup) execute(row, known);
    function run(arrays) {
      const values = known.slice();
      content.inputs.forEach((number, n) => { values[number] = arrays[n]; });
      for (const row of content.operations) execute(row, values);
      return content.outputs.map(number => values[number]);
    }
    return {
      run,
      start: name => content.starts[name].map(decode),
      step(state, id) {
        const outs = run([...state, { shape: [], kind: "i", data: Int32Array.of(id) }]);
        return { state: outs.slice(0, -1), logits: outs[outs.length - 1].data };
      },
    };
  };
})();
