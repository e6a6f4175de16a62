"""Walks through the pages in a real Chromium; runs in an environment of its own (environments.py).

usage: python walk.py PLAN.json

The plan has base, chromium, axe, screenshots (a directory), pages ({name: path}), others ({language: {name:
path}}), serial, revoked and pem.  What is found wrong is printed, one fault a line; nothing is well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LOOKS = {
    "en": (("light", "desktop"), ("dark", "phone")),
    "ja": (("dark", "desktop"), ("light", "phone")),
}
"""Each language in two of the four looks, so that each look and each page is seen in either."""

AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.map(
  (each) => each.id + ": " + each.nodes.map((node) => node.target.join(" ") + " " + node.failureSummary))"""

plan: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
faults: list[str] = []


def main() -> None:
    """All walks."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=plan["chromium"], args=["--no-sandbox", "--disable-gpu"]
        )
        for language, looks in LOOKS.items():
            for scheme, width in looks:
                look(browser, language, scheme, width)
        narrow(browser)
        keyboard(browser)
        without_script(browser)
        dropped(browser)
        printed(browser)
        browser.close()
    print("\n".join(faults))


def opened(browser: Browser, **options: Any) -> Page:
    """A page that tells of every request elsewhere and every error in its console."""
    page = browser.new_context(locale="en", **options).new_page()
    page.set_default_timeout(8000)
    page.on("request", asked)
    page.on("console", said)
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    return page


def asked(request: Request) -> None:
    """Nothing comes from elsewhere."""
    if not request.url.startswith(plan["base"]):
        faults.append(f"asks elsewhere: {request.url}")


def said(message: ConsoleMessage) -> None:
    """Nothing is refused by the Content-Security-Policy; a form with mistakes is a 422, no receipt a 404."""
    if message.type == "error" and "422" not in message.text and "404" not in message.text:
        faults.append(f"console: {message.text}")


def look(browser: Browser, language: str, scheme: str, width: str) -> None:
    """Every page: axe finds nothing, nothing sticks out, a screenshot."""
    size = DESKTOP if width == "desktop" else PHONE
    page = opened(browser, viewport=size, color_scheme=scheme)
    prefix = "" if language == "en" else "/ja"

    def judge(name: str) -> None:
        where = f"{name} {language} {scheme} {width}"
        page.evaluate(Path(plan["axe"]).read_text())
        faults.extend(f"{where}: axe {each}" for each in page.evaluate(AXE))
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            faults.append(f"{where}: wider than the screen")
        if page.evaluate("document.documentElement.lang") != language:
            faults.append(f"{where}: says another language")
        file = Path(plan["screenshots"]) / f"{name}-{language}-{scheme}-{width}.png"
        page.screenshot(path=file, full_page=True)

    for name, path in plan["pages"].items():
        page.goto(plan["base"] + prefix + path)
        judge(name)
    for name, path in plan["others"][language].items():
        page.goto(plan["base"] + path)
        judge(name)
    page.goto(f"{plan['base']}{prefix}/status/")
    page.fill("#certificate", plan["pem"])
    page.click("button")
    page.wait_for_selector(".verdict")
    judge("good")
    page.goto(f"{plan['base']}{prefix}/status/?serial={plan['revoked']}")
    judge("revoked")
    page.goto(f"{plan['base']}{prefix}/report/")
    page.evaluate("document.querySelector('form').noValidate = true")
    page.fill("#certificates", "what is this?")
    page.fill("#proof", "no proof")
    page.click("button")
    page.wait_for_selector(".summary")
    judge("mistakes")
    page.context.close()


def narrow(browser: Browser) -> None:
    """The longest texts, with all their tables, on a phone."""
    page = opened(browser, viewport=PHONE)
    for language in LOOKS:
        page.goto(f"{plan['base']}/cps/latest.{language}.html")
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            faults.append(f"the CP/CPS ({language}) is wider than a phone")
        table = page.locator("table").nth(1)
        table.scroll_into_view_if_needed()
        page.screenshot(path=Path(plan["screenshots"]) / f"cps-{language}-phone.png")
    page.context.close()


def keyboard(browser: Browser) -> None:
    """A report and a look-up with the keyboard alone; the focus is always to be seen."""
    page = opened(browser, viewport=DESKTOP)
    page.goto(plan["base"] + "/report/")
    page.keyboard.press("Tab")
    if page.evaluate("document.activeElement.className") != "skip":
        faults.append("keyboard: the first stop is not the link to the content")
    page.keyboard.press("Enter")
    tab_to(page, "kind-0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    tab_to(page, "description")
    page.keyboard.type("It serves a phishing page.")
    tab_to(page, "certificates")
    page.keyboard.type(plan["serial"])
    tab_to(page, "contact")
    page.keyboard.press("Enter")
    page.wait_for_selector(".steps")
    if "/report/PR-" not in page.url:
        faults.append(f"keyboard: the report led to {page.url}")
    page.goto(plan["base"] + "/status/")
    tab_to(page, "certificate")
    page.keyboard.type(plan["serial"])
    tab_to(page, "file")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".verdict")
    if page.evaluate("document.activeElement.id") != "answer":
        faults.append("keyboard: the verdict is not the first thing that is read")
    page.context.close()


def tab_to(page: Page, id: str) -> None:
    """Press Tab until the element has the focus, which must be visible on each stop."""
    for _ in range(40):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => { const e = document.activeElement, box = e.getBoundingClientRect();
            const outlined = (each) => each !== null && getComputedStyle(each).outlineStyle !== "none";
            const shown = outlined(e) || outlined(e.closest(".choice"));
            return [e.id, shown, box.width > 0 && box.height > 0, e.tagName]; }"""
        )
        if not (stop[1] and stop[2]):
            faults.append(f"keyboard: the focus on {stop[3]} {stop[0]} cannot be seen")
        if stop[0] == id:
            return
    faults.append(f"keyboard: {id} cannot be reached")


def without_script(browser: Browser) -> None:
    """The same forms with scripts turned off."""
    page = opened(browser, viewport=PHONE, java_script_enabled=False)
    page.goto(plan["base"] + "/")
    page.fill("#certificate", plan["revoked"])
    page.click("button")
    if not page.locator(".answer.revoked").count():
        faults.append("without scripts: the home page's form leads to no verdict")
    page.goto(plan["base"] + "/ja/report/")
    page.check("#kind-5")
    page.fill("#description", "何かがおかしい")
    page.click("button")
    if not page.locator(".steps").count():
        faults.append("without scripts: a report leads to no receipt")
    page.context.close()


def dropped(browser: Browser) -> None:
    """A file dropped on the status page is looked up; so is a certificate that is pasted."""
    page = opened(browser, viewport=DESKTOP)
    page.goto(plan["base"] + "/status/")
    page.evaluate(
        """(pem) => { const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([pem], "certificate.pem"));
        document.dispatchEvent(new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true})); }""",
        plan["pem"],
    )
    page.wait_for_selector(".answer.good")
    page.context.close()


def printed(browser: Browser) -> None:
    """On paper: no forms, no navigation."""
    page = opened(browser, viewport=DESKTOP)
    page.goto(f"{plan['base']}/status/?serial={plan['revoked']}")
    page.emulate_media(media="print")
    if page.locator("form").is_visible():
        faults.append("print: the form is printed")
    page.screenshot(path=Path(plan["screenshots"]) / "revoked-print.png", full_page=True)
    page.context.close()


if __name__ == "__main__":
    main()
