"""The page "S3 restores" in Airflow's UI, from 3.1 on: static files, and an entry in the navigation (U1).

The page has no backend: it asks Airflow's public REST API with the rights of whoever looks at it. On Airflow 2 this
file loads and adds nothing.

Airflow imports plugins in every process, each task too. So nothing is imported here that costs time; what serves the
files is imported with the first request for one. An import that fails would stand as an ERROR in the log of each task,
where operators look for other reasons.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

try:
    from airflow.plugins_manager import AirflowPlugin
except ImportError:  # a worker may have only the SDK
    from airflow.sdk.plugins_manager import AirflowPlugin

FILES = Path(__file__).resolve().parent / "s3_restores_page_files"  # nothing else may lie there: all of it is served
PREFIX = "/s3-restores"
HEADERS = {
    # Nothing comes from elsewhere, nothing goes elsewhere, no script stands in the page itself. Airflow frames it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "Cache-Control": "no-cache",  # after an upgrade no browser mixes old and new modules
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Message = MutableMapping[str, Any]


class PageFiles:
    """An ASGI application that serves the page's files; imports what it needs with the first request."""

    def __init__(self) -> None:
        self._files: Any = None

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request."""
        if self._files is None:
            from starlette.applications import Starlette  # noqa: PLC0415 (see above)
            from starlette.routing import Mount  # noqa: PLC0415
            from starlette.staticfiles import StaticFiles  # noqa: PLC0415

            # Within an application of its own, so that refusals are answered here, with our headers, too.
            self._files = Starlette(routes=[Mount("/", StaticFiles(directory=FILES, html=True))])

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message["headers"], *ours]
            await send(message)

        if scope["type"] == "http":
            await self._files(scope, receive, send_with_headers)


def _is_served() -> bool:
    """Whether this Airflow has a UI that plugins can add a page to; looked for without importing it."""
    return find_spec("airflow.sdk") is not None and find_spec("starlette") is not None


class S3RestoresPage(AirflowPlugin):  # type: ignore[misc]
    """The entry in the navigation, and a tab on the page of each run."""

    name = "s3_restores_page"
    fastapi_apps = [{"app": PageFiles(), "url_prefix": PREFIX, "name": "S3 restores"}] if _is_served() else []
    # Relative addresses: Airflow's page puts the path of its base URL before them. Without `href`, or with one that
    # does not end in a slash, the plugin is dropped, or the page's own relative addresses lead elsewhere.
    external_views = (
        [
            {
                "name": "S3 restores",
                "href": f"{PREFIX.strip('/')}/",
                "destination": "nav",
                "url_route": "s3-restores",
                "icon": f"{PREFIX.strip('/')}/icon.svg",
                "icon_dark_mode": f"{PREFIX.strip('/')}/icon-dark.svg",
                "nav_top_level": True,
            },
        ]
        if _is_served()
        else []
    )
