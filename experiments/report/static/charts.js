"use strict";
// Charts by Bokeh, in the colors of the page.
const Charts = (() => {
  const colors = ["c0", "c1", "c2", "c3", "c4", "c5"];
  const name = n => colors[n % colors.length];

  function figure(options) {
    const soft = color("soft"), line = color("line"), ink = color("ink");
    const plot = Bokeh.Plotting.figure({
      tools: "", toolbar_location: null, sizing_mode: "stretch_width", height: 300,
      background_fill_color: color("card"), border_fill_color: color("card"),
      outline_line_color: line, min_border_right: 16, ...options,
    });
    plot.title.text_color = ink;
    plot.title.text_font_size = "13px";
    plot.title.text_font_style = "normal";
    for (const axis of [...plot.xaxis, ...plot.yaxis]) Object.assign(axis, {
      axis_label_text_color: soft, axis_label_text_font_style: "normal", axis_label_text_font_size: "12px",
      major_label_text_color: soft, major_label_text_font_size: "11px", axis_line_color: line,
      major_tick_line_color: line, minor_tick_line_color: null,
    });
    for (const grid of [...plot.xgrid, ...plot.ygrid]) grid.grid_line_color = mixed("line", 0.6, "card");
    return plot;
  }

  function hover(plot, tooltips, renderers, mode = "mouse") {
    plot.add_tools(new Bokeh.HoverTool({ tooltips, renderers, mode, point_policy: "snap_to_data" }));
  }

  function legend(plot) {
    for (const each of plot.legend ? [plot.legend].flat() : []) Object.assign(each, {
      background_fill_color: color("card"), background_fill_alpha: 0.8, border_line_color: null,
      label_text_color: color("ink"), label_text_font_size: "11px", padding: 4, spacing: 0, margin: 6,
    });
  }

  // Lines with bands. series: {name, x, mean, low, high, marks?: [[x, y, text], ...]}.
  function lines(place, { title, x, y, log, series, level }) {
    const range = log ? { y_axis_type: "log" } : {};
    const plot = figure({ title, x_axis_label: x, y_axis_label: y, ...range });
    const shown = [];
    series.forEach((one, n) => {
      const own = color(name(n)), label = series.length > 1 || one.held_out?.length ? { legend_label: one.name } : {};
      const nan = values => values.map(v => v === null || (log && v <= 0) ? NaN : v);
      const source = new Bokeh.ColumnDataSource({ data: {
        x: one.x, y: nan(one.mean), low: nan(one.low), high: nan(one.high), name: one.x.map(() => one.name),
      } });
      if (one.seeds.length > 1) plot.varea({
        x: { field: "x" }, y1: { field: "low" }, y2: { field: "high" }, source, fill_color: own, fill_alpha: 0.2,
      });
      shown.push(plot.line({ field: "x" }, { field: "y" }, { source, line_color: own, line_width: 1.8, ...label }));
      const held = one.held_out ?? [];
      if (held.length) for (const draw of ["line", "scatter"]) plot[draw]({
        x: held.map(([step]) => step), y: held.map(([, loss]) => loss), line_color: own, line_width: 1.3,
        ...(draw === "line" ? { line_dash: [5, 3] } : { marker: "square", size: 5, fill_color: own }),
        ...(n === 0 ? { legend_label: "held-out" } : {}),
      });
      const marks = (one.marks ?? []).filter(mark => mark[1] !== null);
      if (marks.length) plot.scatter({
        x: marks.map(mark => mark[0]), y: marks.map(mark => mark[1]), marker: "circle", size: 6,
        fill_color: color("card"), line_color: own, line_width: 1.5, fill_alpha: 1,
      });
    });
    if (level !== undefined) plot.add_layout(new Bokeh.Span({
      location: level, dimension: "width", line_color: color("soft"), line_dash: [4, 4], line_width: 1,
    }));
    hover(plot, [["run", "@name"], [x, "@x{0,0}"], [y, "@y{0.000}"]], shown, "vline");
    legend(plot);
    return show(plot, place);
  }

  // A heat map of cells. rows: [[top, bottom, [values...]], ...] from `low` to `high`.
  function heat(place, { title, x, y, cells, low, high, label, tip, ...options }) {
    const plot = figure({ title, x_axis_label: x, y_axis_label: y, ...options.figure });
    const palette = Array.from({ length: 64 }, (_, n) => mixed("c0", n / 63, "card"));
    const mapper = new Bokeh.LinearColorMapper({ palette, low, high, nan_color: color("line") });
    const drawn = plot.quad({
      left: { field: "left" }, right: { field: "right" }, top: { field: "top" }, bottom: { field: "bottom" },
      source: new Bokeh.ColumnDataSource({ data: cells }), line_width: 0.5,
      line_color: { field: "value", transform: mapper }, fill_color: { field: "value", transform: mapper },
    });
    for (const grid of [...plot.xgrid, ...plot.ygrid]) grid.grid_line_color = null;
    for (const range of [plot.x_range, plot.y_range]) range.range_padding = 0;
    if (label) plot.add_layout(new Bokeh.ColorBar({
      color_mapper: mapper, title: label, width: 10, padding: 8, background_fill_color: color("card"),
      major_label_text_color: color("soft"), title_text_color: color("soft"), title_text_font_size: "11px",
      title_text_font_style: "normal", major_label_text_font_size: "11px", bar_line_color: null,
      major_tick_line_color: null, ...options.bar,
    }), "right");
    for (const [axis, own] of [[plot.xaxis, options.xticks], [plot.yaxis, options.yticks]])
      for (const each of own ? axis : []) Object.assign(each, own);
    hover(plot, tip, [drawn]);
    return show(plot, place);
  }

  const show = (plot, place) => Bokeh.Plotting.show(plot, place);

  // Named ticks: at n + 1/2 stands names[n].
  function ticks(names) {
    return {
      ticker: new Bokeh.FixedTicker({ ticks: names.map((_, n) => n + 0.5) }),
      major_label_overrides: new Map(names.map((text, n) => [n + 0.5, text])),
    };
  }

  return { lines, heat, ticks, name };
})();
