// Draws window.BOARD (a dashboard's panels and what Prometheus answered) with Grafana's components.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  createTheme, dateTime, FieldType, getDisplayProcessor, toDataFrame, ThemeContext,
} from '@grafana/data';
import { BigValue, PanelChrome, TimeSeries } from '@grafana/ui';

const theme = createTheme({ colors: { mode: 'dark' } });
const board = window.BOARD;
const CELL = { width: 40, height: 30 };

// What Grafana's panel plugin fills in where a dashboard leaves a default out.
const LINES = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, pointSize: 5,
  showPoints: 'never', spanNulls: false, axisPlacement: 'auto', axisLabel: '',
  scaleDistribution: { type: 'linear' }, gradientMode: 'none', barAlignment: 0,
  hideFrom: { legend: false, tooltip: false, viz: false },
  stacking: { mode: 'none', group: 'A' }, thresholdsStyle: { mode: 'off' },
};

function colourOf(panel, name) {
  for (const { matcher, properties } of panel.fieldConfig.overrides ?? []) {
    if (new RegExp(matcher.options.slice(1, -1)).test(name)) {
      return properties.find((property) => property.id === 'color')?.value;
    }
  }
  return panel.fieldConfig.defaults.color;
}

function thresholdsOf(panel) {
  const { mode, steps } = panel.fieldConfig.defaults.thresholds;
  return { mode, steps: steps.map((step) => ({ ...step, value: step.value ?? -Infinity })) };
}

function frameOf(panel, series) {
  const { custom, ...defaults } = panel.fieldConfig.defaults;
  const config = {
    ...defaults, displayName: series.name, color: colourOf(panel, series.name),
    thresholds: thresholdsOf(panel), custom: { ...LINES, ...custom },
  };
  const frame = toDataFrame({
    name: series.name,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.times, config: {} },
      { name: series.name, type: FieldType.number, values: series.values, config },
    ],
  });
  for (const field of frame.fields) {
    field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    field.state = { displayName: field.name, seriesIndex: series.index };
  }
  return frame;
}

function Stat({ panel, frames, width, height }) {
  const field = frames[0]?.fields[1];
  const last = field?.values.filter((value) => value !== null).at(-1);
  const value = last === undefined
    ? { text: panel.fieldConfig.defaults.noValue, numeric: NaN, color: theme.colors.text.secondary }
    : field.display(last);
  return (
    <BigValue width={width} height={height} theme={theme} value={value} colorMode="value"
      graphMode="none" textMode="auto" justifyMode="auto" />
  );
}

function Lines({ panel, frames, width, height }) {
  if (frames.length === 0) {
    return <div style={{ padding: 16 }}>{panel.fieldConfig.defaults.noValue}</div>;
  }
  const [from, to] = board.range.map((ms) => dateTime(ms));
  return (
    <TimeSeries frames={frames} structureRev={1} width={width} height={height} timeZone="utc"
      timeRange={{ from, to, raw: { from, to } }}
      legend={{ ...panel.options.legend, displayMode: 'list', showLegend: true, calcs: [] }} />
  );
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const frames = panel.series.map((series) => frameOf(panel, series));
  const [width, height] = [w * CELL.width - 8, h * CELL.height - 8];
  const Body = panel.type === 'stat' ? Stat : Lines;
  return (
    <div data-panel={panel.title} data-series={frames.length}
      style={{ position: 'absolute', left: x * CELL.width, top: y * CELL.height }}>
      <PanelChrome title={panel.title} width={width} height={height}>
        {(innerWidth, innerHeight) => (
          <Body panel={panel} frames={frames} width={innerWidth} height={innerHeight} />
        )}
      </PanelChrome>
    </div>
  );
}

class Guard extends React.Component {
  state = {};

  static getDerivedStateFromError(error) { return { error }; }

  render() {
    return this.state.error
      ? <pre data-fault={this.props.title}>{String(this.state.error.stack)}</pre>
      : this.props.children;
  }
}

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    {board.panels.map((panel) => (
      <Guard key={panel.title} title={panel.title}><Panel panel={panel} /></Guard>
    ))}
  </ThemeContext.Provider>,
);
