"""The page at GET / in headless Chromium: every thing it does, by mouse and by keyboard alone, light, dark and narrow.

What a server cannot be asked for at will (a stream that breaks, an answer with markup in it, a demand for a key) is put
in place of its answer in the browser. LORIKEET_URL names a server that runs already, with the adapters pirate and caps
and what `paths` returns; LORIKEET_SCREENSHOTS a folder that keeps the pictures.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from interop import arguments, lorikeet

PATIENCE = 60  # Seconds for what takes a few at most on an idle machine.
WIDE, NARROW = (1280, 860), (360, 740)
# WCAG 2.2, success criterion 1.4.3: text against what is behind it.
CONTRAST = 4.5

# Errors and violations from the first script on; a fetch that tests may put answers into.
BEFORE_THE_PAGE = """
window.faults = [];
addEventListener("error", (event) => faults.push(event.message));
addEventListener("unhandledrejection", (event) => faults.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => faults.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""

# Answers the next chat with pieces of a stream, which then ends or fails.
CANNED_STREAM = """
const [pieces, breaks] = arguments, real = window.fetch;
window.fetch = async (path, options) => {
  if (path !== "/v1/chat/completions") return real(path, options);
  window.fetch = real;
  const left = pieces.slice();
  return new Response(new ReadableStream({
    async pull(controller) {
      await new Promise((done) => setTimeout(done, 20));
      if (left.length) controller.enqueue(new TextEncoder().encode(left.shift()));
      else if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  }), { headers: { "Content-Type": "text/event-stream" } });
};
"""

# Answers everything with 401 until the right key comes.
WANTS_KEY = """
const [key] = arguments, real = window.fetch;
window.fetch = async (path, options) => {
  if (options.headers.Authorization === `Bearer ${key}`) return real(path, options);
  return new Response(JSON.stringify({ error: { message: "no key", type: "authentication_error" } }), { status: 401 });
};
"""

# Texts whose colour is too near to what is behind them: [text, ratio].
LOW_CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => {
  const [r, g, b] = channels(colour).map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if ((channels(colour)[3] ?? 1) === 1) return colour;
  }
};
return [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() && node.tagName !== "OPTION"
  && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())).map((node) => {
    const style = getComputedStyle(node);
    const [text, ground] = [luminance(node instanceof SVGElement ? style.fill : style.color), luminance(behind(node))];
    return [node.textContent.trim().slice(0, 40), (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05)];
  }).filter(([, ratio]) => ratio < arguments[0]);
"""

# Elements that reach beyond the sides of the window or scroll sideways, but for code, which does so on its own.
TOO_WIDE = """
return [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() && !node.closest("pre, .spoken, svg")
  && (node.getBoundingClientRect().right > innerWidth + 0.5 || node.getBoundingClientRect().left < -0.5
    || (["auto", "scroll"].includes(getComputedStyle(node).overflowX) && node.scrollWidth > node.clientWidth)))
  .map((node) => node.outerHTML.slice(0, 80)).concat(document.documentElement.scrollWidth > innerWidth ? ["the page"] : []);
"""

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
        address = json.loads(process.stdout.readline())["address"]
        yield address if "://" in address else f"http://{address}", str(paths["caps"].resolve()), str(refused.resolve())
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


class Page:
    """A window on the page, and what a person does and sees there."""

    def __init__(self, url, path, refused):
        self.url, self.path, self.refused = url, path, refused
        chrome = webdriver.ChromeOptions()
        # Chromium has no sandbox for root, and containers little shared memory.
        for flag in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-gpu"]:
            chrome.add_argument(flag)
        chrome.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=chrome, service=Service("/usr/bin/chromedriver"))
        self.command("Page.addScriptToEvaluateOnNewDocument", source=BEFORE_THE_PAGE)
        self.size(*WIDE)
        self.scheme("light")

    def command(self, name, **parameters):
        return self.driver.execute_cdp_cmd(name, parameters)

    def size(self, width, height):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, scheme):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self):
        self.driver.get(self.url + "/")
        self.wait("the adapters", lambda: len(self.all(".adapter")) >= 2)

    def script(self, text, *values):
        return self.driver.execute_script(text, *values)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """The text in the last element that selector finds, shown or not."""
        found = self.all(selector)
        return self.script("return arguments[0].textContent", found[-1]) if found else ""

    def wait(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not (value := condition()):
            assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
            time.sleep(0.05)
        return value

    def press(self, *keys):
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def press_back(self):
        ActionChains(self.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()

    def focus(self):
        """What has the focus: its id or name, or else its text."""
        return self.script(
            "const e = document.activeElement; return e.id || e.name || e.querySelector('.name')?.textContent || e.textContent.trim()"
        )

    def tab_to(self, name):
        for _ in range(60):
            if self.focus() == name:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"Tab does not lead to {name}")

    def field(self, name, value):
        self.script(
            "const e = document.getElementsByName(arguments[0])[0]; e.value = arguments[1];"
            "e.dispatchEvent(new Event('input', {bubbles: true}))", name, value,
        )  # fmt: skip

    def choose(self, picker, model):
        self.one(f"#{picker} option[value='{model}']").click()

    def is_busy(self):
        return self.text("#send") == "Stop"

    def say(self, text):
        self.one("#message").send_keys(text, Keys.ENTER)

    def ask(self, text):
        self.say(text)
        self.wait("the answer", lambda: not self.is_busy())

    def can(self, pieces, breaks=False):
        """Puts pieces of text, or whole events, in place of the next answer."""
        events = [
            piece if piece.startswith("data:") else "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]})
            for piece in pieces
        ]
        self.script(CANNED_STREAM, [event + "\n\n" for event in events], breaks)

    def picture(self, name):
        time.sleep(0.3)
        screenshots.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(screenshots / f"page-{name}.png"))


def adapter(page, name):
    """The adapter's entry in the panel, opened."""
    found = [card for card in page.all(".adapter") if page.script("return arguments[0].querySelector('.name').textContent", card) == name]
    if found and not found[0].get_attribute("open"):
        found[0].find_element(By.TAG_NAME, "summary").click()
    return found[0] if found else None


def button(parent, text):
    return next(found for found in parent.find_elements(By.TAG_NAME, "button") if found.text == text)


def chats(page):
    page.field("max_tokens", "80")
    page.say("Why does the sea have tides?")
    grown = page.wait("the first token", lambda: page.text(".answer .body"))
    page.wait("the end", lambda: not page.is_busy())
    answer = page.text(".answer .body")
    assert answer.startswith(grown) and answer.strip(), (grown, answer)
    assert "tok/s" in page.text(".answer footer") and "token" in page.text(".answer footer"), page.text(".answer footer")
    assert not page.text(".answer .error")
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
    page.say("Count from one to a thousand, a number a line, and go on forever.")
    page.wait("ten characters", lambda: len(page.text(".answer .body")) > 10)
    page.one("#send").click()
    page.wait("the end", lambda: not page.is_busy())
    kept = page.text(".answer .body")
    assert kept and page.text(".answer .note") == "Stopped.", page.text(".answer .note")
    time.sleep(0.5)
    assert page.text(".answer .body") == kept, "text came after the stop"
    page.wait("the request to leave the server", lambda: page.text("#running") == "0")
    page.field("max_tokens", "80")
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
    path, refused = page.path, page.refused
    figure = adapter(page, "pirate").find_elements(By.CSS_SELECTOR, ".curve svg polyline")
    print(f"loss curve of a trained adapter: {'drawn' if figure else 'none in its summary'}")

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

    fill("second", path)  # 409: the name is taken
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


def shows_markup_as_text(page):
    markup = '<img src=x onerror="faults.push(1)"><script>faults.push(2)</script> **<b>bold</b>** `<i>code</i>`'
    fence = "```html\n<svg onload=faults.push(3)>\n" + "wide " * 60 + "\n```"
    page.can([markup, "\n\n", fence, 'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}', "data: [DONE]"])
    page.ask("<u>Markup</u> " + "w" * 200)
    assert page.text(".said p").startswith("<u>Markup</u>")
    assert page.text(".answer .body p") == markup.replace("**", "").replace("`", "")
    assert page.text(".answer .block code").startswith("<svg onload=faults.push(3)>\nwide")
    tags = page.script("return [...document.querySelectorAll('.turn *')].map((e) => e.tagName.toLowerCase())")
    assert not {"img", "script", "u", "b", "i", "svg"} & set(tags), tags
    for width in [NARROW[0], 320]:
        page.size(width, NARROW[1])
        assert not page.script(TOO_WIDE), page.script(TOO_WIDE)
    page.size(*WIDE)
    page.one("#clear").click()


def asks_for_a_key(page):
    page.script(WANTS_KEY, "right")
    page.ask("Hello")
    assert "API key" in page.text("#key-reason") and page.focus() == "key" and page.text(".answer .note.bad")
    page.press("wrong", Keys.ENTER)
    page.wait("the refusal", lambda: "refuses" in page.text("#key-reason"))
    page.press("right", Keys.ENTER)
    page.wait("the form to go", lambda: not page.one("#key").is_displayed())
    button(page.all(".answer")[-1], "Try again").click()
    page.wait("the answer", lambda: not page.is_busy() and page.text(".answer .body"))
    assert page.script("return [Object.values(sessionStorage), localStorage.length, document.cookie]") == [["right"], 0, ""]
    page.script("sessionStorage.clear()")


def works_by_keyboard(page):
    """No mouse from here on."""
    page.open()
    assert page.focus() == "message"
    page.press_back()
    while page.focus() != "model-a":
        page.press_back()
    order = []
    for _ in range(20):
        order.append(page.focus())
        style = page.script(
            "const e = document.activeElement, s = getComputedStyle(e), b = getComputedStyle(e.parentElement);"
            "return [s.outlineStyle, s.outlineWidth, b.boxShadow]"
        )
        assert style[:2] != ["none", "0px"] and style[0] != "none" or style[2] != "none", (order[-1], style)
        assert page.script("return document.activeElement.matches(':focus-visible')"), order[-1]
        page.press(Keys.TAB)
    print("Tab:", ", ".join(order))
    known = [name for name in order if name in {"model-a", "compare", "clear", "conversation", "message", "send", "pirate", "caps", "Load an adapter", "temperature"}]
    expected = ["model-a", "compare", "clear", "conversation", "message", "send"]
    assert known[:6] == expected and known.index("Load an adapter") > 6 and "temperature" in known, order
    unnamed = page.script(
        "return [...document.querySelectorAll('input, select, textarea, button')].filter((e) => "
        "!(e.textContent.trim() && e.tagName === 'BUTTON') && !e.labels?.length && !e.ariaLabel).map((e) => e.outerHTML)"
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

    ActionChains(page.driver).send_keys("One").key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).send_keys("two").perform()
    assert page.one("#message").get_attribute("value") == "One\ntwo" and not page.all(".turn")
    page.press(Keys.ENTER)
    page.wait("the answer", lambda: page.text(".answer .body") and not page.is_busy())
    assert page.text(".said p") == "One\ntwo"

    page.press(Keys.ARROW_UP)
    assert page.one("#editing").is_displayed()
    page.press(Keys.ESCAPE)
    assert not page.one("#editing").is_displayed() and page.one("#message").get_attribute("value") == ""

    page.tab_to("max_tokens")
    page.press(Keys.BACKSPACE * 4, "1500")
    page.script("document.getElementById('message').focus()")
    page.press("Count from one to a thousand, a number a line, and go on forever.", Keys.ENTER)
    page.wait("text", lambda: page.text(".answer .body"))
    page.press(Keys.ESCAPE)
    page.wait("the end", lambda: not page.is_busy())
    assert page.text(".answer .note").startswith("Stopped"), page.text(".answer .note")

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
    page.picture("light")
    assert not page.script(LOW_CONTRAST, CONTRAST), page.script(LOW_CONTRAST, CONTRAST)
    light = page.script("return getComputedStyle(document.body).backgroundColor")

    page.one("#clear").click()
    page.scheme("dark")
    page.one("#compare").click()
    page.choose("model-b", "caps")
    page.ask("Why does the sea have tides?")
    page.picture("dark")
    assert not page.script(LOW_CONTRAST, CONTRAST), page.script(LOW_CONTRAST, CONTRAST)
    assert page.script("return getComputedStyle(document.body).backgroundColor") != light
    page.scheme("light")

    page.size(*NARROW)
    assert not page.script(TOO_WIDE), page.script(TOO_WIDE)
    page.script("document.getElementById('conversation').scrollTop = 0")
    page.picture("narrow")
    page.one("#open-panel").click()
    assert page.focus() == "close-panel" and page.one("main").get_attribute("inert") is not None
    assert not page.script(TOO_WIDE), page.script(TOO_WIDE)
    page.picture("narrow-panel")
    page.press(Keys.ESCAPE)
    assert page.focus() == "open-panel" and not page.one("#panel").is_displayed()
    page.size(*WIDE)


def stays_at_home(page):
    """Nothing went wrong in the console, nothing went elsewhere, and the policy is in force."""
    assert page.script("return faults") == []
    # The browser logs each refusal that the checks above asked for.
    expected = ["status of 404", "status of 409", "status of 422"]
    entries = [entry for entry in page.driver.get_log("browser") if not any(text in entry["message"] for text in expected)]
    assert not entries, entries
    messages = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    urls = {message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"}
    assert urls and all(url.startswith(page.url + "/") for url in urls), urls
    print("requests:", ", ".join(sorted(url.removeprefix(page.url) for url in urls)))
    page.script("const s = document.createElement('style'); s.textContent = 'body { color: red }'; document.head.append(s)")
    page.wait("the policy to refuse a foreign style", lambda: any("style-src" in fault for fault in page.script("return faults")))


CHECKS = [
    chats, stops, compares, loads_and_unloads, tells_bad_settings, keeps_what_came, shows_markup_as_text, asks_for_a_key,
    works_by_keyboard, looks_right,
]  # fmt: skip

with server() as served:
    page = Page(*served)
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
