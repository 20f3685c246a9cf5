"""Panels, and how they look.

A panel's description ends with the variables that do not filter it, and why: `filtered` adds that.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common as shared
from grafana_foundation_sdk.builders import dashboard as built
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
GREEN, ORANGE, RED = "green", "orange", "red"
MOST_IN_A_LINE = 4  # series whose names are shown next to each other; more of them are a table
LIMIT = "gateway:limit"  # is the same for all
REASONS = {
    "model": "the model: it is measured for all models together",
    "policy": "the policy: it is measured for all policies together",
    "endpoint": "the endpoint: a request may use several",
}

Steps = Sequence[tuple[float | None, str]]  # from which value on, which color
Query = tuple[str, str]  # expression, legend
SHARE_STEPS: Steps = ((None, RED), (0.95, ORANGE), (0.99, GREEN))
TTFT_STEPS: Steps = ((None, GREEN), (5, ORANGE), (10, RED))
ANY_IS_BAD: Steps = ((None, GREEN), (1, RED))
DASHED = [
    dashboard.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
    dashboard.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]}),
    dashboard.DynamicConfigValue("custom.fillOpacity", 0),
]


@dataclass(frozen=True)
class Column:
    """A column of a table, with the instant query of its values."""

    title: str
    expression: str
    unit: str = "short"
    width: int = 0  # pixels; 0: what is left
    steps: Steps = ()
    words: Mapping[str, tuple[str, str]] | None = None  # value -> text, color
    decimals: int | None = None


def number(title: str, expression: str, unit: str, about: str, steps: Steps = ()) -> stat.Panel:
    """One figure."""
    reduced = shared.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    panel = stat.Panel().title(title).unit(unit).no_value("no traffic").description(filtered(about, [expression]))
    panel = panel.graph_mode(
        common.BigValueGraphMode.AREA if "$__rate" in expression else common.BigValueGraphMode.NONE
    )
    panel = panel.color_mode(common.BigValueColorMode.VALUE).text_mode(common.BigValueTextMode.VALUE)
    panel = panel.reduce_options(reduced).datasource(SOURCE).with_target(query(expression, title))
    return panel.thresholds(thresholds(steps)) if steps else panel.color_scheme(fixed("blue"))


def graph(
    title: str, queries: Sequence[Query], unit: str, about: str, *, stack: bool = False, limits: Steps = ()
) -> timeseries.Panel:
    """Lines over time; `stack`: areas on top of each other, for what adds up. `limits` are drawn as dashed lines.

    The axis begins at 0, or at 90 % where all values are near 100 %.
    """
    panel = timeseries.Panel().title(title).unit(unit).datasource(SOURCE)
    panel = panel.axis_soft_min(0.9) if title.startswith("Success") else panel.min(0)
    panel = panel.description(filtered(about, [expression for expression, _ in queries]))
    panel = panel.line_width(1).fill_opacity(35 if stack else 6).show_points(common.VisibilityMode.NEVER)
    panel = panel.axis_border_show(False).span_nulls(120_000.0).color_scheme(colors(queries))
    panel = panel.legend(legend(queries)).tooltip(tooltip())
    if stack:
        panel = panel.stacking(shared.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if unit == "percentunit":
        panel = panel.max(1)
    if limits:
        style = shared.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds(((None, "transparent"), *limits))).thresholds_style(style)
    for index, (expression, name) in enumerate(queries):
        panel = panel.with_target(query(expression, name, chr(ord("A") + index)))
        if LIMIT in expression:
            panel = panel.override_by_name(name, DASHED)
    return panel


def bars(title: str, queries: Sequence[Query], unit: str, about: str, *, each: str = "") -> timeseries.Panel:
    """Bars on top of each other. `each`: one bar per this time, over the last 30 of them."""
    panel = graph(title, queries, unit, about, stack=True)
    panel = panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70).line_width(0)
    return panel.interval(each).time_from(f"30{each[-1]}") if each else panel


def heat(title: str, expression: str, about: str) -> heatmap.Panel:
    """Counts of a histogram's buckets over time."""
    blues = heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Blues").steps(48)
    blues = blues.exponent(0.5).fill("dark-blue").reverse(False)
    panel = heatmap.Panel().title(title).description(filtered(about, [expression])).datasource(SOURCE)
    panel = panel.calculate(False).cell_gap(1).color(blues).show_legend()
    panel = panel.filter_values(heatmap.FilterValueRange().le(1e-9))
    panel = panel.y_axis(heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT))
    panel = panel.cell_values(heatmap.CellValues().unit("short"))
    return panel.with_target(query(expression, "{{le}}").format(prometheus_format("heatmap")))


def states(title: str, expression: str, about: str, words: Mapping[str, tuple[str, str]]) -> statetimeline.Panel:
    """A colored line for each endpoint."""
    panel = statetimeline.Panel().title(title).description(filtered(about, [expression])).datasource(SOURCE)
    panel = panel.mappings([mapping(words)]).fill_opacity(75).line_width(0).row_height(0.75).merge_values(True)
    panel = panel.show_value(common.VisibilityMode.NEVER).color_scheme(fixed("green"))
    shown = shared.VizLegendOptions().show_legend(True).display_mode(common.LegendDisplayMode.LIST)
    panel = panel.legend(shown.placement(common.LegendPlacement.BOTTOM)).tooltip(tooltip())
    return panel.with_target(query(expression, "{{endpoint}}"))


def rows(
    title: str, first: Sequence[str], columns: Sequence[Column], about: str, sort: str, link: str = ""
) -> table.Panel:
    """A table: one row for each value of the labels `first`. `link` is the address behind the first column."""
    letters = [chr(ord("A") + index) for index in range(len(columns))]
    panel = table.Panel().title(title).datasource(SOURCE)
    panel = panel.description(filtered(about, [column.expression for column in columns]))
    panel = panel.filterable(True).cell_height(common.TableCellHeight.SM)
    panel = panel.sort_by([shared.TableSortByFieldState().display_name(sort).desc(True)])
    names = {label: label.capitalize() for label in first} | {
        f"Value #{letter}": column.title for letter, column in zip(letters, columns, strict=True)
    }
    order = {name: index for index, name in enumerate(names)}
    options = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(dashboard.DataTransformerConfig(id_val="organize", options=options))
    for letter, column in zip(letters, columns, strict=True):
        instant = query(column.expression, "", letter).instant().format(prometheus_format("table"))
        panel = panel.with_target(instant).override_by_name(column.title, properties(column))
    if link:
        address = [{"title": "Show ${__value.text}", "url": link}]
        panel = panel.override_by_name(first[0].capitalize(), [dashboard.DynamicConfigValue("links", address)])
    return panel


def properties(column: Column) -> list[dashboard.DynamicConfigValue]:
    """How a column's cells look."""
    found: dict[str, Any] = {"unit": column.unit}
    if column.width:
        found["custom.width"] = column.width
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.steps:
        found["thresholds"] = thresholds(column.steps).build()
        found["color"] = {"mode": "thresholds"}
    if column.words:
        found["mappings"] = [mapping(column.words)]
    if column.steps or column.words:
        found["custom.cellOptions"] = {"type": "color-text"}
    return [dashboard.DynamicConfigValue(name, value) for name, value in found.items()]


def query(expression: str, name: str, letter: str = "A") -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(name).ref_id(letter).datasource(SOURCE)


def prometheus_format(name: str) -> PromQueryFormat:
    return PromQueryFormat(name)


def filtered(about: str, expressions: Iterable[str]) -> str:
    """The description, with what does not filter the panel, or one of its expressions."""
    used = [set(re.findall(r"\$(\w+)", expression)) for expression in expressions if LIMIT not in expression]
    used = [names | {"model"} if "endpoint" in names else names for names in used]  # whose endpoints these are
    missing = [reason for name, reason in REASONS.items() if any(name not in names for names in used)]
    return f"{about} Not filtered by {'; nor by '.join(missing)}." if missing else about


def thresholds(steps: Steps) -> built.ThresholdsConfig:
    found = [dashboard.Threshold(value, color) for value, color in steps]
    return built.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(found)


def mapping(words: Mapping[str, tuple[str, str]]) -> dashboard.ValueMap:
    results = {
        value: dashboard.ValueMappingResult(text=text, color=color, index=index)
        for index, (value, (text, color)) in enumerate(words.items())
    }
    return dashboard.ValueMap(options=results)


def fixed(color: str) -> built.FieldColor:
    return built.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(color)


def colors(queries: Sequence[Query]) -> built.FieldColor:
    """An endpoint has one color in all panels, and so has a policy; the others take the palette in its order."""
    named = any("{{endpoint}}" in name or "{{policy}}" in name for _, name in queries)
    modes = dashboard.FieldColorModeId
    return built.FieldColor().mode(modes.PALETTE_CLASSIC_BY_NAME if named else modes.PALETTE_CLASSIC)


def legend(queries: Sequence[Query]) -> shared.VizLegendOptions:
    """Below the panel: names in a line where they are few, else a table with the last value."""
    few = len(queries) <= MOST_IN_A_LINE and not any("{{" in name for _, name in queries)
    mode = common.LegendDisplayMode.LIST if few else common.LegendDisplayMode.TABLE
    found = shared.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM).display_mode(mode)
    return found if few else found.calcs(["lastNotNull"]).sort_by("Last *").sort_desc(True)


def tooltip() -> shared.VizTooltipOptions:
    return shared.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
