// Figures as text: three significant digits, fewer where the sample bears fewer, a dash where there is no data.

export const NONE = "–";
export const SMALL = 30; // samples under which a figure is dimmed

const known =
  (show) =>
  (value, ...rest) =>
    value === null || value === undefined ? NONE : show(value, ...rest);
const grouped = new Intl.NumberFormat("en-US");
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });

export function significant(value, digits = 3) {
  const rounded = Number(value.toPrecision(digits));
  if (rounded === 0) return "0";
  const decimals = Math.min(12, Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(rounded)))));
  return rounded.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

const digitsOf = (n) => (n !== undefined && n < SMALL ? 2 : 3);

export const count = known((value) => grouped.format(Math.round(value)));
export const tokens = known((value) => (value < 10_000 ? count(value) : compact.format(value)));
export const usd = known((value, n) =>
  value === 0
    ? "$0"
    : `${value < 0 ? "−" : ""}$${significant(Math.abs(value), Math.abs(value) < 1e-4 ? 2 : digitsOf(n))}`,
);
export const perMillion = known((value, n) => `${usd(value, n)} / 1M`);
export const price = known(
  (value) => `$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 4 })}`,
);
export const speed = known((value, n) => `${significant(value, Math.min(digitsOf(n), value < 100 ? 2 : 3))} tok/s`);
export const context = known((value) => `${Math.round(value / 1000)}K`);

export const seconds = known((value, n) => {
  const digits = digitsOf(n);
  if (value < 0.9995) return `${significant(value * 1000, digits)} ms`;
  if (value < 99.5) return `${significant(value, digits)} s`;
  if (value < 7_200) return `${Math.round(value / 60)} min`;
  return value < 172_800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86_400)} d`;
});

// A share is rounded down, so that 100 % means all. The sample says how many decimals it bears.
export const percent = known((value, n = 1000) => {
  const decimals = n < 100 ? 0 : n < 10_000 ? 1 : 2;
  const scale = 10 ** decimals;
  const rounded = Math.floor(value * 100 * scale + 1e-6) / scale;
  return `${rounded === 100 ? "100" : rounded.toFixed(decimals)} %`;
});
export const share = known((value) =>
  value > 0 && value < 0.001 ? "< 0.1 %" : `${significant(value * 100, value < 0.1 ? 2 : 3)} %`,
);

export const ratio = (part, whole) => (whole && part !== null && part !== undefined ? part / whole : null);

// Times: buckets of a day are days of UTC, all others are in the browser's time zone.
const make = (options) => new Intl.DateTimeFormat("en-GB", options);
const CLOCK = make({ hour: "2-digit", minute: "2-digit" });
const SECONDS = make({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATE = make({ day: "numeric", month: "short" });
const UTC_DATE = make({ day: "numeric", month: "short", timeZone: "UTC" });
const YEAR = make({ day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const at = (formatter) => known((unix) => formatter.format(new Date(unix * 1000)));

export const clock = at(CLOCK);
export const clockSeconds = at(SECONDS);
export const date = at(DATE);
export const day = at(UTC_DATE);
export const fullDay = at(YEAR);
export const moment = (unix, step) =>
  step >= 86_400 ? day(unix) : step >= 600 ? `${date(unix)}, ${clock(unix)}` : clock(unix);
export const ago = known((unix, now) => (now - unix < 60 ? "just now" : `${seconds(Math.max(60, now - unix))} ago`));

export const RANGE_WORDS = { "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days", "30d": "last 30 days" };
export const BEFORE_WORDS = {
  "1h": "the hour before",
  "24h": "the day before",
  "7d": "the week before",
  "30d": "the 30 days before",
};
