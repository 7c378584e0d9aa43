"""The dashboard in a real browser: every page in all widths, light and dark, right to left, without script; axe is
content."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests import home_site
from tests.browser import findings, one, screen, shade, texts, until
from tests.home_site import ADDON, log_in
from tests.system import System

PAGES = ("home", "dashboard", "list", "addfunds", "ledger", "whatif", "hub", "verification")
LOOKS = (("", 360, "light"), ("&theme=six", 768, "dark"), ("", 1024, "dark"), ("&theme=six", 1440, "light"))
WIDTHS = (360, 768, 992, 1024, 1199, 1440)
OVER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(tmp_path_factory.mktemp("system"), speed=0.05) as s:
        home_site.furnish(s)
        yield s


@pytest.fixture
def system(furnished: System) -> System:
    log_in(furnished)
    return furnished


def show(b: Chrome, s: System, page: str, query: str = "") -> None:
    address = f"clientarea.php?x{query}".replace("?x&", "?").replace("?x", "") if page == "home" else f"{ADDON}{query}"
    if page not in ("home", "dashboard"):
        address += f"&vmb[page]={page}"
    b.get(f"http://127.0.0.1:{s.host}/{address}")
    until(b, lambda _: b.find_elements(By.CSS_SELECTOR, ".vmb-dash"))


@pytest.mark.parametrize(("theme", "width", "wish"), LOOKS)
def test_every_page_fits_and_axe_has_nothing_to_say(
    system: System, browser: Chrome, theme: str, width: int, wish: str
) -> None:
    shade(browser, wish)
    screen(browser, width)
    for page in PAGES:
        show(browser, system, page, theme)
        assert findings(browser) == [], page
        for each in (width, *(w for w in WIDTHS if w != width)):
            screen(browser, each)
            assert browser.execute_script(OVER) == 0, (page, each)
        screen(browser, width)


def test_right_to_left_and_longer_words_fit_a_phone(system: System, browser: Chrome) -> None:
    screen(browser, 360)
    for page in PAGES:
        show(browser, system, page, "&language=pseudo-rtl")
        assert one(browser, ".vmb-dash").get_attribute("dir") == "rtl"
        assert browser.execute_script(OVER) == 0, page


def test_the_recommended_amount_is_used_and_paid_by_click(system: System, browser: Chrome) -> None:
    show(browser, system, "addfunds")
    one(browser, "[data-use]").click()
    until(browser, lambda b: "vmb[amount]" in b.current_url or "vmb%5Bamount%5D" in b.current_url)
    amount = one(browser, ".vmb-funds [name=amount]")
    amount.clear()
    amount.send_keys("31,50")
    assert amount.get_attribute("value") == "31.50"
    assert not one(browser, ".vmb-breakdown").is_displayed()  # the sums of another amount
    one(browser, ".vmb-funds [type=submit]").click()
    until(browser, lambda b: "31.50" in b.page_source and "viewinvoice" in b.current_url)


def test_it_all_works_without_script(system: System, browser: Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    show(browser, system, "dashboard")
    one(browser, ".vmb-counter-suspended").click()
    until(browser, lambda b: "old.example.com" in texts(b, ".vmb-sheet"))
    assert "shop.example.com" not in texts(browser, ".vmb-sheet")
    show(browser, system, "addfunds")
    one(browser, ".vmb-funds [type=submit]").click()
    until(browser, lambda b: "viewinvoice" in b.current_url)
