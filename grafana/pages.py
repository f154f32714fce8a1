"""All dashboards, in the order in which a person who is paged would open them."""

from __future__ import annotations

from grafana import budgets, health, overview, panels, programme, quality, segments
from grafana.panel import Page

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    panels.PAGE,
    segments.PAGE,
    budgets.PAGE,
    health.PAGE,
    quality.PAGE,
    programme.PAGE,
)
