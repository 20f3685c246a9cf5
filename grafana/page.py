"""A whole dashboard: rows of panels, the variables, the annotations, the links to the others and to the model page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as built
from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models import dashboard

from grafana import queries as q
from grafana.looks import SOURCE, WIDTH

TAG = "llm-routing-gateway"
GATEWAY_URL = "http://127.0.0.1:8080"  # the model page; docs/dashboards.md says how to change it
ALL = dashboard.VariableOption(text=["All"], value=["$__all"])


@dataclass(frozen=True)
class Row:
    """Panels of one size, in lines below a title."""

    title: str
    panels: Sequence[Any]
    width: int
    height: int


@dataclass(frozen=True)
class Page:
    """A dashboard. `variables` are those of `LABELS` that its panels use."""

    name: str
    title: str
    about: str
    rows: Callable[[], list[Row]]
    variables: tuple[str, ...]

    @property
    def uid(self) -> str:
        return f"llm-gateway-{self.name}"


# Name of a variable: its label, and the metric with the selector that its values come from.
LABELS = {
    "job": ("Job", "gateway_build_info"),
    "instance": ("Instance", 'gateway_build_info{job=~"$job"}'),
    "model": ("Model", f"gateway_endpoint_info{{{q.GATEWAY}}}"),
    "policy": ("Policy", f"{q.REQUESTS}{{{q.GATEWAY}}}"),
    "endpoint": ("Endpoint", f'gateway_endpoint_info{{{q.GATEWAY},model=~"$model"}}'),
}
# Title, color, expression, text.
EVENTS = (
    (
        "Policies reloaded",
        "blue",
        f"sum by (result) (changes(gateway_policy_reloads_total{{{q.GATEWAY}}}[1m])) > 0",
        "{{result}}",
    ),
    ("Endpoints set back", "red", f"max by (endpoint) (gateway_endpoint_state{{{q.GATEWAY}}}) == 2", "{{endpoint}}"),
    (
        "Prices changed",
        "orange",
        f"max by (endpoint) (changes(gateway_price_changes_total{{{q.GATEWAY}}}[1m])) > 0",
        "{{endpoint}}",
    ),
    (
        "Workers started",
        "purple",
        f"max by (instance) (time() - process_start_time_seconds{{{q.GATEWAY}}}) < 60",
        "{{instance}}",
    ),
)


def whole(page: Page) -> dashboard.Dashboard:
    """The dashboard's model."""
    made = built.Dashboard(page.title).uid(page.uid).description(page.about).tags([TAG, "llm"]).version(1)
    made = (
        made.refresh("30s").time("now-6h", "now").timezone("browser").tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    )
    made = made.variables([source(), *(label(name) for name in page.variables), address()])
    made = made.annotations([annotation(*event) for event in EVENTS]).links(links())
    placed(made, page.rows())
    found = made.build()
    for number, panel in enumerate(found.panels or (), 1):
        panel.id_val = number
    return found


def placed(made: built.Dashboard, rows: Sequence[Row]) -> None:
    """All rows below each other, their panels left to right."""
    y = 0
    for row in rows:
        made.with_row(built.Row(row.title).grid_pos(dashboard.GridPos(h=1, w=WIDTH, x=0, y=y)))
        y += 1
        for index, panel in enumerate(row.panels):
            line, column = divmod(index * row.width, WIDTH)
            last = index == len(row.panels) - 1  # takes what is left of its line
            width = WIDTH - column if last else row.width
            made.with_panel(panel.grid_pos(dashboard.GridPos(h=row.height, w=width, x=column, y=y + line * row.height)))
        y += -(-len(row.panels) * row.width // WIDTH) * row.height


def source() -> built.DatasourceVariable:
    """Prometheus: the default one, unless another is chosen."""
    return built.DatasourceVariable("datasource").label("Data source").type("prometheus")


def label(name: str) -> built.QueryVariable:
    """Values of a label. All endpoints are those of the chosen models; all of the others is anything."""
    text, metric = LABELS[name]
    made = (
        built.QueryVariable(name)
        .label(text)
        .datasource(SOURCE)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
    )
    made = made.query({"query": f"label_values({metric}, {name})", "refId": name}).multi(True).include_all(True)
    made = made.sort(dashboard.VariableSort.ALPHABETICAL_ASC).current(ALL)
    return made if name == "endpoint" else made.all_value(".+")


def address() -> built.ConstantVariable:
    """Where the links to the model page lead."""
    return built.ConstantVariable("gateway").label("Address of the gateway").value(GATEWAY_URL)


def annotation(title: str, color: str, expression: str, text: str) -> built.AnnotationQuery:
    target = prometheus.Dataquery().expr(expression).ref_id("A").datasource(SOURCE)
    made = built.AnnotationQuery().name(title).datasource(SOURCE).enable(True).icon_color(color).target(target)
    return made.expr(expression).title_format(title).text_format(text).step("30s")


def links() -> list[built.DashboardLink]:
    others = built.DashboardLink("Dashboards").type(dashboard.DashboardLinkType.DASHBOARDS).tags([TAG])
    page = (
        built.DashboardLink("Model page")
        .type(dashboard.DashboardLinkType.LINK)
        .url("${gateway}/")
        .icon("external link")
    )
    return [
        others.as_dropdown(False).include_vars(True).keep_time(True),
        page.target_blank(True).tooltip("Prices, speed and the last exchanges, on the gateway's own page"),
    ]
