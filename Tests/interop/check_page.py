"""The page at GET / in headless Chromium: every thing it does, by mouse and by keyboard alone, light, dark and narrow.

What a server cannot be asked for at will (a stream that breaks, an answer with markup in it, a demand for a key) is put
in place of its answer in the browser. LORIKEET_URL names a server that runs already, with the adapters pirate and caps,
and loads the path `caps` but not `wrong`; LORIKEET_SCREENSHOTS a folder that keeps the pictures.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from interop import arguments, lorikeet
from page import NARROW, PATIENCE, WIDE, Page

# The event that ends an answer.
END = 'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'

options = arguments()
folder = options.work / "page"
screenshots = pathlib.Path(os.environ.get("LORIKEET_SCREENSHOTS", folder))


def trained(name):
    """A bundle that a short run leaves."""
    lorikeet(
        options, "train", "--model", options.model, "--data", f"Examples/{name}.jsonl", "--output", folder / name,
        "--rank", 8, "--batch-size", 2, "--max-length", 64, "--steps", 20, "--force",
    )  # fmt: skip
    return folder / name / f"{name}.lorikeet"


def wrong():
    """A PEFT folder whose rank is not that of its factors."""
    path = folder / "wrong"
    path.mkdir(exist_ok=True)
    shutil.copy(folder / "pirate/adapter_model.safetensors", path)
    configuration = json.loads((folder / "pirate/adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps(configuration | {"r": 3}))
    return path


@contextlib.contextmanager
def server():
    """The address of a server, and the paths of an adapter that it may load and of one that it must refuse."""
    folder.mkdir(parents=True, exist_ok=True)
    if url := os.environ.get("LORIKEET_URL"):
        yield url.rstrip("/"), "caps", "wrong"
        return
    paths = {name: trained(name) for name in ["pirate", "caps"]}
    refused = wrong()
    command = [options.lorikeet, "serve", "--model", options.model, "--port", "0", "--json", "--adapter-root", folder]
    command += [word for name, path in paths.items() for word in ["--adapter", f"{name}={path}"]]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    try:
        address = json.loads(process.stdout.readline())["url"]
        yield address if "://" in address else f"http://{address}", str(paths["caps"].resolve()), str(refused.resolve())
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def adapter(page, name):
    """The adapter's entry in the panel, opened."""
    # In one go: the page may take it away between two.
    return page.script(
        "const cards = [...document.querySelectorAll('.adapter')];"
        "const card = cards.find((card) => card.querySelector('.name').textContent === arguments[0]);"
        "if (card) card.open = true; return card", name,
    )  # fmt: skip


def button(parent, text):
    return next(found for found in parent.find_elements(By.TAG_NAME, "button") if found.text == text)


def chats(page):
    page.field("max_tokens", "80")
    page.say("Why does the sea have tides?")
    grown = page.wait("the first token", lambda: page.text(".answer .body"))
    page.wait("the end", lambda: not page.is_busy())
    answer = page.text(".answer .body")
    assert answer.startswith(grown) and answer.strip(), (grown, answer)
    figures = page.text(".answer footer")
    assert "tokens" in figures and "tok/s" in figures, figures
    assert not page.all(".note.bad")
    # Screen readers hear the answer: sentence by sentence, the last of it once it has ended.
    assert answer.split()[-1] in page.text("#speech"), page.text("#speech")
    page.wait("figures", lambda: page.text("#kv").endswith("%"))
    assert page.text("#running").isdigit() and page.text("#queued").isdigit()

    button(page.one(".answer"), "Copy").click()
    page.wait("word that it is copied", lambda: page.text("#speech").endswith("Copied"))
    button(page.one(".answer"), "Regenerate").click()
    page.wait("the second answer", lambda: not page.is_busy())
    assert len(page.all(".turn")) == len(page.all(".answer")) == 1

    button(page.one(".said"), "Edit").click()
    assert page.one("#message").get_attribute("value") == "Why does the sea have tides?"
    page.ask(" Be brief.")
    assert len(page.all(".turn")) == 1 and page.text(".said p") == "Why does the sea have tides? Be brief."

    page.one("#clear").click()
    assert not page.all(".turn")
    page.one("#undo").click()
    assert len(page.all(".turn")) == 1
    page.one("#clear").click()


def stops(page):
    page.field("max_tokens", "1500")
    page.field("temperature", "0")  # with which this answer is long
    page.say("Write a long essay about the sea.")
    page.wait("ten characters", lambda: len(page.text(".answer .body")) > 10)
    page.one("#send").click()
    page.wait("the end", lambda: not page.is_busy())
    kept = page.text(".answer .body")
    assert kept and page.text(".answer .note") == "Stopped.", page.text(".answer .note")
    time.sleep(0.5)
    assert page.text(".answer .body") == kept, "text came after the stop"
    page.wait("the request to leave the server", lambda: page.text("#running") == "0")
    page.field("max_tokens", "80")
    page.field("temperature", "")
    page.one("#clear").click()


def compares(page):
    page.choose("model-a", "pirate")
    page.one("#compare").click()
    page.choose("model-b", "caps")
    page.ask("How do I make coffee?")
    names = [page.script("return arguments[0].textContent", name) for name in page.all(".answer h3")]
    assert names == ["Apirate", "Bcaps"], names
    bodies = [body.text for body in page.all(".answer .body")]
    assert len(bodies) == 2 and all(bodies), bodies
    left, right = page.all(".answer")
    assert left.rect["y"] == right.rect["y"] and left.rect["x"] + left.rect["width"] <= right.rect["x"]


def loads_and_unloads(page):
    def fill(name, path):
        if not page.one("#load").get_attribute("open"):
            page.one("#load summary").click()
        for field, value in [("lora_name", name), ("lora_path", path)]:
            page.one(f"#load [name={field}]").clear()
            page.one(f"#load [name={field}]").send_keys(value)
        page.one("#load .primary").click()

    fill("second", path)
    page.wait("the adapter", lambda: adapter(page, "second"))
    page.wait("its state", lambda: "resident" in adapter(page, "second").text)
    assert "second is loaded" in page.text("#adapters-outcome")
    assert page.all("#model-a option[value=second]"), "it can be chosen"

    fill("second", path)  # 400: the name is taken
    page.wait("the refusal", lambda: page.text("#load .error"))
    fill("third", refused)  # 422
    message = page.wait("the other refusal", lambda: "wrong" in page.text("#load .error") and page.text("#load .error"))
    print("422:", message)
    assert not adapter(page, "third")
    page.one("#load summary").click()

    card = adapter(page, "second")
    button(card, "Swap").click()
    field = card.find_element(By.CSS_SELECTOR, ".swap input")
    field.clear()
    field.send_keys(refused, Keys.ENTER)
    page.wait("why it is not swapped", lambda: card.find_element(By.CSS_SELECTOR, ".swap .error").text)
    field.clear()
    field.send_keys(path, Keys.ENTER)
    page.wait("the swap", lambda: "second is swapped" in page.text("#adapters-outcome"))

    page.choose("model-a", "second")
    button(card, "Unload").click()
    page.wait("it to leave", lambda: not adapter(page, "second"))
    assert page.text("#model-a option:checked") == "second (not loaded)"
    page.ask("Are you there?")  # 404
    message = page.text(".answer.a .note.bad")
    print("404:", message)
    assert "second" in message, message
    assert page.text(".answer.b .body"), "the other answer came all the same"
    page.choose("model-a", "pirate")
    page.one("#compare").click()
    page.one("#clear").click()


def draws_training_loss(page):
    card = adapter(page, "pirate")
    page.tell_training()
    curve = ".curve svg[aria-label='Training loss: 1,000 steps, loss 4.00 to 1.02']"
    page.wait("the curve", lambda: card.find_elements(By.CSS_SELECTOR, curve))
    points = card.find_element(By.CSS_SELECTOR, ".curve polyline").get_attribute("points").split()
    heights = [float(point.split(",")[1]) for point in points]
    # The loss falls at every step, which is downwards on the screen.
    assert 100 <= len(heights) <= 200 and heights == sorted(heights), heights
    assert card.find_element(By.CSS_SELECTOR, ".curve svg").rect["height"] > 50
    page.open()


def tells_bad_settings(page):
    page.field("temperature", "3")
    page.say("Hello")
    assert not page.all(".turn") and "from 0 to 2" in page.text("#settings .error")
    assert page.focus() == "temperature"
    page.field("temperature", "0.7")
    assert not page.all("#settings .error")
    page.one("#message").clear()


def keeps_what_came(page):
    page.can(["What came", " before"], breaks=True)
    page.ask("Break")
    assert page.text(".answer .body") == "What came before"
    assert page.text(".answer .note.bad") == "The connection broke before the answer was complete. What came is kept."
    page.can(["It ends", " early"])
    page.ask("End")
    assert "broke" in page.text(".answer .note.bad") and page.text(".answer .body") == "It ends early"
    page.can(["It fails", 'data: {"error": {"message": "The model is gone.", "type": "server_error"}}'])
    page.ask("Fail")
    assert page.text(".answer .note.bad") == "The model is gone. What came is kept."
    page.one("#clear").click()


def follows_the_answer(page):
    """The end of an answer stays in view, unless its reader has gone elsewhere."""
    page.can(["A paragraph.\n\n"] * 80 + [END])
    place = (
        "const c = document.getElementById('conversation');"
        "return [c.scrollTop, c.scrollHeight - c.clientHeight - c.scrollTop]"
    )
    page.say("Follow")
    page.wait("more than the window holds", lambda: page.script(place)[0] > 100)
    assert page.script(place)[1] < 40 and not page.one("#follow").is_displayed()
    page.script("document.getElementById('conversation').scrollTop = 0")
    page.wait("the end", lambda: not page.is_busy())
    assert page.script(place)[0] == 0
    page.one("#follow").click()
    assert page.script(place)[1] < 1 and not page.one("#follow").is_displayed()
    page.one("#clear").click()


def shows_markup_as_text(page):
    markup = '<img src=x onerror="faults.push(1)"><script>faults.push(2)</script> **<b>bold</b>** `<i>code</i>`'
    fence = "```html\n<svg onload=faults.push(3)>\n" + "wide " * 60 + "\n```"
    page.can([markup, "\n\n", fence, END, "data: [DONE]"])
    page.ask("<u>Markup</u> " + "w" * 200)
    assert page.text(".said p").startswith("<u>Markup</u>")
    assert page.text(".answer .body p") == markup.replace("**", "").replace("`", "")
    assert page.text(".answer .block code").startswith("<svg onload=faults.push(3)>\nwide")
    tags = page.script("return [...document.querySelectorAll('.turn *')].map((e) => e.tagName.toLowerCase())")
    assert not {"img", "script", "u", "b", "i", "svg"} & set(tags), tags
    for width in [NARROW[0], 320]:
        page.size(width, NARROW[1])
        assert not page.too_wide(), page.too_wide()
    page.size(*WIDE)
    page.one("#clear").click()


def asks_for_a_key(page):
    page.want_key("right")
    page.ask("Hello")
    assert "API key" in page.text("#key-reason") and page.focus() == "key" and page.text(".answer .note.bad")
    page.press("wrong", Keys.ENTER)
    page.wait("the refusal", lambda: "refuses" in page.text("#key-reason"))
    page.press("right", Keys.ENTER)
    page.wait("the form to go", lambda: not page.one("#key").is_displayed())
    button(page.all(".answer")[-1], "Try again").click()
    page.wait("the answer", lambda: not page.is_busy() and page.text(".answer .body"))
    kept = page.script("return [Object.values(sessionStorage), localStorage.length, document.cookie]")
    assert kept == [["right"], 0, ""], kept
    page.script("sessionStorage.clear()")


def works_by_keyboard(page):
    """No mouse from here on."""
    page.open()
    assert page.focus() == "message"
    page.press_back()
    while page.focus() != "model-a":
        page.press_back()
    order = []
    # Past the last field the focus leaves the page.
    while not order or not page.script("return document.activeElement === document.body"):
        order.append(page.focus())
        style = page.script(
            "const e = document.activeElement, s = getComputedStyle(e), b = getComputedStyle(e.parentElement);"
            "return [s.outlineStyle, s.outlineWidth, b.boxShadow]"
        )
        assert style[:2] != ["none", "0px"] and style[0] != "none" or style[2] != "none", (order[-1], style)
        assert page.script("return document.activeElement.matches(':focus-visible')"), order[-1]
        page.press(Keys.TAB)
    print("Tab:", ", ".join(order))
    assert order[:6] == ["model-a", "compare", "clear", "conversation", "message", "send"], order
    assert 6 <= order.index("pirate") < order.index("Load an adapter") < order.index("temperature"), order
    unnamed = page.script(
        "const isNamed = (e) => e.labels?.length || e.ariaLabel || (e.tagName === 'BUTTON' && e.textContent.trim());"
        "return [...document.querySelectorAll('input, select, textarea, button')].filter((e) => !isNamed(e))"
        ".map((e) => e.outerHTML)"
    )
    assert not unnamed, unnamed

    page.script("document.getElementById('message').focus()")
    while page.focus() != "model-a":
        page.press_back()
    page.press("pirate")
    assert page.one("#model-a").get_attribute("value") == "pirate"
    page.tab_to("compare")
    page.press(Keys.SPACE)
    assert page.one("#model-b").is_displayed()
    page.press(Keys.SPACE)
    page.tab_to("max_tokens")
    page.press(Keys.BACKSPACE * 4, "80")
    page.script("document.getElementById('message').focus()")

    page.press("One")
    ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    page.press("two")
    assert page.one("#message").get_attribute("value") == "One\ntwo" and not page.all(".turn")
    page.press(Keys.ENTER)
    page.wait("the answer", lambda: page.text(".answer .body") and not page.is_busy())
    assert page.text(".said p") == "One\ntwo"

    page.press(Keys.ARROW_UP)
    assert page.one("#editing").is_displayed()
    page.press(Keys.ESCAPE)
    assert not page.one("#editing").is_displayed() and page.one("#message").get_attribute("value") == ""

    page.can(["A number. "] * 1000)
    page.press("Count to a thousand.", Keys.ENTER)
    page.wait("text", lambda: page.text(".answer .body"))
    page.press(Keys.ESCAPE)
    page.wait("the end", lambda: not page.is_busy())
    assert page.text(".answer .note") == "Stopped."

    page.tab_to("caps")
    page.press(Keys.ENTER)
    page.tab_to("Swap")
    page.press(Keys.ENTER)
    assert page.script("return document.activeElement.matches('.swap input')")
    page.press(Keys.ESCAPE)
    assert page.focus() == "Swap"
    page.press_back()
    page.press(Keys.ENTER)
    assert page.focus() == "message" and page.one("#model-a").get_attribute("value") == "caps"


def looks_right(page):
    """Light, dark and narrow, with what a person would see there."""
    page.open()
    page.field("max_tokens", "120")
    page.choose("model-a", "pirate")
    adapter(page, "pirate")
    page.ask("Why does the sea have tides?")
    ActionChains(page.driver).move_to_element(page.one("h1")).perform()  # Nothing lights up under the mouse there.
    page.wait("the figures", lambda: page.text("#running") == "0")
    page.picture("light")
    assert not page.low_contrast(), page.low_contrast()
    light = page.script("return getComputedStyle(document.body).backgroundColor")

    page.one("#clear").click()
    page.scheme("dark")
    page.one("#compare").click()
    page.choose("model-b", "caps")
    page.ask("Why does the sea have tides?")
    page.picture("dark")
    assert not page.low_contrast(), page.low_contrast()
    assert page.script("return getComputedStyle(document.body).backgroundColor") != light
    page.scheme("light")

    page.size(*NARROW)
    assert not page.too_wide(), page.too_wide()
    page.script("document.getElementById('conversation').scrollTop = 0")
    page.picture("narrow")
    page.one("#open-panel").click()
    assert page.focus() == "close-panel" and page.one("main").get_attribute("inert") is not None
    assert not page.too_wide(), page.too_wide()
    page.picture("narrow-panel")
    page.press(Keys.ESCAPE)
    assert page.focus() == "open-panel" and not page.one("#panel").is_displayed()
    page.size(*WIDE)


def stays_at_home(page):
    """Nothing went wrong in the console, nothing went elsewhere, and the policy is in force."""
    assert page.script("return faults") == []
    # The browser logs each refusal that the checks above asked for.
    expected = ["status of 400", "status of 404", "status of 422"]
    console = [entry["message"] for entry in page.driver.get_log("browser")]
    console = [message for message in console if not any(text in message for text in expected)]
    assert not console, console
    events = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    urls = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert urls and all(url.startswith(page.url + "/") for url in urls), urls
    print("requests:", ", ".join(sorted(url.removeprefix(page.url) for url in urls)))
    page.script(
        "const s = document.createElement('style'); s.textContent = 'body { color: red }'; document.head.append(s)"
    )
    page.wait("the policy to refuse it", lambda: any("style-src" in fault for fault in page.script("return faults")))


CHECKS = [
    chats, stops, compares, loads_and_unloads, draws_training_loss, tells_bad_settings, keeps_what_came,
    follows_the_answer, shows_markup_as_text, asks_for_a_key, works_by_keyboard, looks_right,
]  # fmt: skip

with server() as (url, path, refused):
    page = Page(url, screenshots)
    try:
        page.open()
        for check in CHECKS:
            check(page)
            assert page.script("return faults") == []
            print(f"the page {check.__name__.replace('_', ' ')}")
        stays_at_home(page)
    except Exception:
        page.picture("failure")
        raise
    finally:
        page.driver.quit()
