"""Our gateway as any ASGI server would run it: uvicorn's own protocol in the place of ours, all else the same.

python -m bench.asgi serve ...      takes what `gateway` takes; one worker only
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import cli
from gateway.server import protocol

if __name__ == "__main__":
    setattr(protocol, "HotProtocol", HttpToolsProtocol)  # noqa: B010  # the supervisor looks it up by name
    cli.main()
