"""A headless Chromium, driven over a pipe by the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
    *("--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking"),
    *("--remote-debugging-pipe", "--disable-extensions", "about:blank"),
)


def find():
    """Returns the path of a Chromium; None if there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of a browser. Everything that its console says is kept."""

    def __init__(self, folder, limit=120):
        self.limit, self.buffer, self.calls = limit, b"", 0
        self.console, self.requests = [], []
        there, self.write = _pipe()
        self.read, here = _pipe()
        moves = [(os.POSIX_SPAWN_DUP2, there, 3), (os.POSIX_SPAWN_DUP2, here, 4)]
        with open(os.devnull, "r+b") as nothing:
            quiet = [(os.POSIX_SPAWN_DUP2, nothing.fileno(), fd) for fd in (0, 1, 2)]
            self.process = os.posix_spawn(
                find(),
                [find(), f"--user-data-dir={folder}", *FLAGS],
                os.environ,
                file_actions=[*quiet, *moves],
                setsid=True,
            )
        os.close(there)
        os.close(here)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    session = None

    def call(self, method, **params):
        """Calls a method of the protocol and returns its result."""
        self.calls += 1
        message = {"id": self.calls, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.calls:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, file, width=1280, height=900, dark=False):
        """Opens a file in a window, and waits until the report is drawn."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=file.resolve().as_uri())
        self.wait("document.readyState === 'complete' && report.ready")

    def evaluate(self, code):
        """Returns the value of JavaScript code."""
        found = self.call(
            "Runtime.evaluate",
            expression=code,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(str(found["exceptionDetails"]))
        return found["result"].get("value")

    def wait(self, code):
        """Waits until JavaScript code is true."""
        until = time.monotonic() + self.limit
        while not self.evaluate(f"(() => {{ try {{ return {code} }} catch {{}} }})()"):
            if time.monotonic() > until:
                raise TimeoutError(f"{code}: {self.console}")
            time.sleep(0.05)

    def picture(self, file):
        """Writes a picture of the whole page."""
        found = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True
        )
        file.write_bytes(base64.b64decode(found["data"]))

    def close(self):
        """Ends the browser."""
        with contextlib.suppress(OSError):
            os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.write)
        os.close(self.read)

    def _next(self):
        until = time.monotonic() + self.limit
        while b"\0" not in self.buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            piece = os.read(self.read, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        found = json.loads(message)
        self._keep(found.get("method"), found.get("params", {}))
        return found

    def _keep(self, method, params):
        if method == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            texts = [str(part.get("value")) for part in params["args"]]
            self.console.append(f"{params['type']}: {' '.join(texts)}")
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


def _pipe():
    """Returns both ends of a pipe, above the numbers that the browser is given."""
    ends = os.pipe()
    high = [os.dup(end) if end > 9 else _raise(end) for end in ends]
    for end in ends:
        os.close(end)
    return high


def _raise(end):
    import fcntl  # noqa: PLC0415  not on Windows

    return fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
