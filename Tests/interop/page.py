"""A window of headless Chromium on the page at GET /: what a person does and sees there."""

import json
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

PATIENCE = 60  # Seconds for what takes a few at most on an idle machine.
WIDE, NARROW = (1280, 860), (360, 740)

# WCAG 2.2, success criterion 1.4.3: text against what is behind it.
CONTRAST = 4.5

# Errors and violations from before the first script on.
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
    start: (controller) => options.signal.addEventListener("abort", () => controller.error(options.signal.reason)),
    async pull(controller) {
      await new Promise((done) => setTimeout(done, 20));
      if (left.length) controller.enqueue(new TextEncoder().encode(left.shift()));
      else if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  }), { headers: { "Content-Type": "text/event-stream" } });
};
"""

# Gives the adapter pirate a training summary, with points in it that are none.
TRAINING = """
const real = window.fetch;
window.fetch = async (path, options) => {
  const response = await real(path, options);
  if (path !== "/v1/models") return response;
  const list = await response.json();
  const loss = Array.from({ length: 1000 }, (_, step) => [step + 1, 1 + 3 * Math.exp(-step / 200)]);
  const training = { steps: 1000, final_loss: 1.02, loss: [null, [1, "x"], ...loss] };
  list.data.find((model) => model.id === "pirate").training = training;
  return new Response(JSON.stringify(list));
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
const wide = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
  && !node.closest("pre, .spoken, svg")).filter((node) => {
    const { left, right } = node.getBoundingClientRect();
    return left < -0.5 || right > innerWidth + 0.5
      || (["auto", "scroll"].includes(getComputedStyle(node).overflowX) && node.scrollWidth > node.clientWidth);
  }).map((node) => node.outerHTML.slice(0, 80));
return document.documentElement.scrollWidth > innerWidth ? ["the page", ...wide] : wide;
"""


class Page:
    """The page in a window."""

    def __init__(self, url, screenshots):
        self.url, self.screenshots = url, screenshots
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
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.command("Emulation.setDeviceMetricsOverride", **metrics)

    def scheme(self, scheme):
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self):
        assert not self.script("return window.faults ?? []"), "what went wrong would be forgotten"
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
            "const e = document.activeElement;"
            "return e.id || e.name || e.querySelector('.name')?.textContent || e.textContent.trim()"
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
            (
                piece
                if piece.startswith("data:")
                else "data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]})
            )
            for piece in pieces
        ]
        self.script(CANNED_STREAM, [event + "\n\n" for event in events], breaks)

    def picture(self, name):
        time.sleep(0.3)
        self.screenshots.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(self.screenshots / f"page-{name}.png"))

    def low_contrast(self):
        """Texts whose colour is too near to what is behind them, with the ratio."""
        return self.script(LOW_CONTRAST, CONTRAST)

    def too_wide(self):
        """What reaches beyond the sides of the window."""
        return self.script(TOO_WIDE)

    def want_key(self, key):
        """From now on nothing is answered without key."""
        self.script(WANTS_KEY, key)

    def tell_training(self):
        """From the next look at the adapters on, pirate has a training summary."""
        self.script(TRAINING)
