"""What is drawn on the charts' page, read from its pixels."""

from __future__ import annotations

import pytest
from selenium.webdriver import Chrome

from bridge import assets

drawn = pytest.mark.skipif(not assets.built("uplot/uPlot.iife.min.js"), reason="uPlot is not built (make assets)")
LIGHT, DARK = (11, 92, 173), (88, 166, 255)  # the first line of a chart
COLUMNS = """
const c = document.querySelector('[data-chart=cpu] canvas'), d = c.getContext('2d').getImageData(0, 0, c.width,
  c.height).data, [r, g, b] = arguments[0];
const starts = [];
for (let x = 0; x < c.width; x++) for (let y = 0; y < c.height; y++) { const i = 4 * (y * c.width + x);
  if (d[i + 3] > 200 && Math.abs(d[i] - r) + Math.abs(d[i + 1] - g) + Math.abs(d[i + 2] - b) < 40) {
    starts.push(x / c.width); break; } }
return starts;"""


def columns(browser: Chrome, color: tuple[int, int, int]) -> list[float]:
    """Where the CPU's line is, as fractions of the width."""
    return list(browser.execute_script(COLUMNS, list(color)))
