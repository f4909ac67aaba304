"""A headless Chromium with one page, driven through its DevTools protocol over two pipes, and a folder served to it."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FREE = 10  # the first descriptor that nobody counts on: the pipes become 3 and 4 in the browser
_LONGEST_S = 120.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # in a container there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class BrowserError(RuntimeError):
    """The browser ended, was silent for too long, or a script in the page failed."""


def program() -> str | None:
    """The path of a Chromium on this machine."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Chromium:
    """One page.

    Raises:
        BrowserError: from every method.
    """

    def __init__(self, path: str, width: int = 1280, height: int = 900) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hwnas-", ignore_cleanup_errors=True)
        to_browser, from_browser = (tuple(map(_moved, os.pipe())) for _ in range(2))
        words = [path, *_OPTIONS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}"]
        script = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 as it lives as long as the process
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", *words, "about:blank"],
            pass_fds=(to_browser[0], from_browser[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )
        for one in (to_browser[0], from_browser[1]):
            os.close(one)
        self._write, self._read = to_browser[1], from_browser[0]
        self._rest, self._count, self._session = b"", 0, ""
        try:
            target = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self.call("Page.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser."""
        for one in (self._write, self._read):
            with contextlib.suppress(OSError):
                os.close(one)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._stderr.close()
        self._folder.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        try:
            os.write(self._write, json.dumps(message).encode() + b"\0")
        except OSError as error:
            raise self._ended() from error
        while True:
            answer = json.loads(self._message())
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message')}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> None:
        """Load a page; what it does then, `until` waits for."""
        said = self.call("Page.navigate", url=address).get("errorText")
        if said:
            raise BrowserError(f"{address}: {said}")
        self.until("document.readyState === 'complete'")

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(str(details.get("exception", {}).get("description", details.get("text"))))
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression in the page is true."""
        self.evaluate(
            f"new Promise((done) => {{ const look = () => (({condition}) ? done() : setTimeout(look, 10)); look(); }})"
        )

    def choose(self, selector: str, file: Path) -> None:
        """Have a file chosen in an input of the page."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[str(file.resolve())], objectId=found["result"]["objectId"])

    def resize(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """The size of the page in CSS pixels, and what it is told of the screen."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        """The page as it is seen, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"])

    def _message(self) -> bytes:
        while b"\0" not in self._rest:
            if not select.select([self._read], [], [], _LONGEST_S)[0]:
                raise BrowserError(f"the browser was silent for {_LONGEST_S:g} s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise self._ended()
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return message

    def _ended(self) -> BrowserError:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return BrowserError(f"the browser ended: {lines[-1] if lines else 'it said nothing'}")


def _moved(descriptor: int) -> int:
    """The same open file behind a descriptor that is out of the way."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FREE)
    os.close(descriptor)
    return moved


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address under which the files of a folder are there for this machine alone."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
