"""``GET /api/raw/{pull}/{page}``: a provider's answer as it came, for whoever may see more than figures."""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from usage_pipeline.errors import PermanentError
from usage_pipeline.ledger.pull_owner import is_pull_of
from usage_pipeline.ledger.raw_pages import find_raw_page
from usage_pipeline.service.access import ACCESS, Credential, admit_reader, credential_of
from usage_pipeline.service.answers import RefusedRequestError
from usage_pipeline.service.reading import PRIVATE_HEADERS, store_of
from usage_pipeline.service.runtime import ServiceRuntime
from usage_pipeline.service.threads import Threads

PATH: Final = "/api/raw/{pull}/{page}"
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)


async def raw_page(request: Request, runtime: ServiceRuntime, threads: Threads) -> Response:
    """The page. Raises :class:`RefusedRequestError` for whatever is not answered with 200."""
    wanted = request.path_params["pull"], request.path_params["page"]
    prefix, body, fetched_from = await threads.run(_find, runtime, credential_of(request), wanted)
    request.state.note = prefix
    # Shown by no browser as a page of ours, whatever is in it.
    headers = {
        **PRIVATE_HEADERS,
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": f'attachment; filename="raw-{wanted[0]}-{wanted[1]}.json"',
        "X-Usage-Feed": fetched_from,
    }
    return Response(body, 200, headers, media_type="application/json")


def _find(runtime: ServiceRuntime, credential: Credential, wanted: tuple[str, str]) -> tuple[str, bytes, str]:
    reader = admit_reader(runtime, credential, ACCESS["GET", PATH].scope)
    pull, page = (int(part) if _NUMBER.fullmatch(part) else 0 for part in wanted)
    with store_of(runtime) as connection:
        try:
            # Asked first: that another workspace's page was pruned is its own matter too.
            own = is_pull_of(connection, pull, reader.workspace_id)
            found = find_raw_page(connection, pull, page) if own else None
        except PermanentError as error:
            raise RefusedRequestError.of(410, error) from None
    if found is None:
        raise RefusedRequestError(404, "page_unknown", "No such raw page of this workspace is kept.")
    return reader.token_prefix, found.body, f"{found.key} {found.endpoint}"
