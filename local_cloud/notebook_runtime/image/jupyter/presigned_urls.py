"""Who may enter a notebook instance's JupyterLab: whoever has a presigned URL, once, and then the browser's session.

The local cloud leaves a file for each URL that it has given out, named by the SHA-256 of its token; whoever comes with the
token takes the file away and gets a cookie that lasts as long as the file says. A program on the instance enters with the
token of Jupyter's own runtime file, which only the user's own processes can read.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from jupyter_server.auth import IdentityProvider, User
from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from tornado import web

PARAMETER = "authToken"
"""As in AWS's presigned URLs (CreatePresignedNotebookInstanceUrl)."""
DEFAULT_SESSION_S = 12 * 3600
"""AWS's default of SessionExpirationDurationInSeconds, for who comes with the runtime file's token."""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This notebook instance asks for a new URL</title>
<style>body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto; padding: 0 1rem }}
code {{ background: color-mix(in srgb, currentColor 10%, transparent); padding: .1em .3em }}
:root {{ color-scheme: light dark }}</style>
<main>
<h1>This notebook instance asks for a new URL</h1>
<p>{reason}</p>
<p>Open the notebook instance again: <code>sagestack notebook open</code>, or create a new URL with
<code>aws sagemaker create-presigned-notebook-instance-url</code>. A URL can be used once, within five minutes.</p>
</main>
</html>
"""
NO_SESSION = "Nobody is signed in here, or the session has ended."
NOT_VALID = "This URL was used already, is older than five minutes, or was never given out."


def refuse(handler: web.RequestHandler, reason: str) -> None:
    """Answer 403 with a page that says what to do."""
    handler.set_status(403)
    handler.set_header("Content-Type", "text/html; charset=utf-8")
    handler.set_header("Cache-Control", "no-store")
    handler.finish(PAGE.format(reason=reason))


@dataclass
class Person(User):  # type: ignore[misc]
    """Who uses the instance: there is one user on it.

    Attributes:
        until: when the session ends, in seconds since 1970.
    """

    username: str = "ec2-user"
    until: float = 0.0


class NoEntry(JupyterHandler):  # type: ignore[misc]
    """Stands where Jupyter asks for a password: there is none."""

    @allow_unauthenticated  # type: ignore[untyped-decorator]
    def get(self) -> None:
        """Say how to get in; who is in goes to where they wanted, or to the start."""
        if self.current_user:
            self.redirect(self.base_url)
        else:
            refuse(self, NO_SESSION)


class PresignedUrls(IdentityProvider):  # type: ignore[misc]
    """Knows people by the cookie that a presigned URL gave them."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)
        self._tickets = Path(os.environ["SAGESTACK_TICKETS"])

    async def get_user(self, handler: web.RequestHandler) -> User | None:
        """The user of a request; a presigned URL is answered here, whatever page it names."""
        token = handler.get_query_argument(PARAMETER, None)
        if token is None or handler.request.method not in ("GET", "HEAD"):
            return await self._get_user(handler)
        if handler.request.method == "GET" and (lasts_s := self._redeem(token)) is not None:
            self.set_login_cookie(handler, Person(until=time.time() + lasts_s))
        elif self.get_user_cookie(handler) is None:
            refuse(handler, NOT_VALID)
            raise web.Finish
        # The token leaves the address, and with it the browser's history.
        rest = [(key, value) for key, value in parse_qsl(handler.request.query) if key != PARAMETER]
        handler.set_header("Cache-Control", "no-store")
        # One slash: two would begin the name of another host.
        page = "/" + handler.request.path.lstrip("/")
        handler.redirect(page + ("?" + urlencode(rest) if rest else ""))
        raise web.Finish

    def _redeem(self, token: str) -> float | None:
        """Use a token up: how many seconds its session lasts, or None where it opens nothing."""
        path = self._tickets / hashlib.sha256(token.encode()).hexdigest()
        try:
            ticket = json.loads(path.read_text())
            # Of two who come at once, one finds it gone.
            path.unlink()
        except FileNotFoundError:
            return None
        return float(ticket["session_seconds"]) if time.time() < ticket["expires_at"] else None

    def generate_anonymous_user(self, handler: web.RequestHandler) -> User:
        """Whoever comes with the token of the runtime file is the same person."""
        return Person(until=time.time() + DEFAULT_SESSION_S)

    def user_to_cookie(self, user: User) -> str:
        """The cookie says until when it counts: its age in the browser is no promise."""
        return json.dumps({"until": user.until})

    def user_from_cookie(self, cookie_value: str) -> User | None:
        """The person, or None where the session is over."""
        person = Person(until=json.loads(cookie_value)["until"])
        return person if time.time() < person.until else None
