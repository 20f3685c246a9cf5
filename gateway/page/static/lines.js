// Lines of a chart with one for each endpoint, in the endpoint's colour.

import { dash, shortNames, variable } from "./colours.js";

export function perEndpoint(history, valuesOf) {
  const ids = Object.keys(history.endpoints).filter((id) => variable(id) !== "--none");
  const names = shortNames(ids);
  return ids.map((id) => ({
    key: id,
    name: names.get(id),
    ink: variable(id),
    dash: dash(id),
    values: valuesOf(history.endpoints[id].points),
  }));
}

export const overRange = (history) => ({
  times: history.times,
  step: history.step,
  from: history.from,
  to: history.to,
});
