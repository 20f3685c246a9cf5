"""Rejects heads of requests that HTTP allows and this server does not support, so that a proxy in front cannot read the
request differently. The parser rejects what is not HTTP: two lengths, a length with chunks, bare LF.

    Transfer-Encoding   other than one `chunked`: 501; in HTTP/1.0: 400
    Expect              other than `100-continue`: 417; in HTTP/1.0 it is ignored
    target              `http://host/path` must be of the host in `Host`, without a user: else 400
    Host                one in HTTP/1.1, at most one in HTTP/1.0: else 400
"""

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from gateway.errors import BadRequest
from gateway.server.host_check import NO_HTTP, malformed

CODING, EXPECT = b"transfer-encoding", b"expect"
CONTINUE = b"100-continue"
_PORTS = {"http": 80, "https": 443}


def framing_problem(target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> BadRequest | None:
    """The error of a request with this target, HTTP version and headers (names in lower case); None without one."""
    codings = [value.strip().lower() for name, value in headers if name == CODING]
    if codings and codings != [b"chunked"]:
        return _refusal("the only supported `Transfer-Encoding` is `chunked`", 501)
    if codings and version != "1.1":
        return _refusal("HTTP/1.0 has no `Transfer-Encoding`", 400)
    if version == "1.1" and any(name == EXPECT and value.strip().lower() != CONTINUE for name, value in headers):
        return _refusal("the only supported `Expect` is `100-continue`", 417)
    hosts = [value for name, value in headers if name == b"host"]
    if not target.startswith(b"/") and target != b"*" and hosts and not _is_at(target, hosts[-1]):
        return _refusal("the request target must be a path, or a URL of the host in `Host`", 400)
    return malformed(hosts, needs_host=version == "1.1")


def _refusal(message: str, status: int) -> BadRequest:
    return BadRequest(message, code=NO_HTTP, status=status)


def _is_at(target: bytes, host: bytes) -> bool:
    """Whether an absolute target names the host and port of `Host`."""
    try:
        url = urlsplit(target.decode("ascii").lower())
        own = urlsplit(f"{url.scheme}://{host.decode('ascii').strip().lower()}")
        return url.scheme in _PORTS and "@" not in url.netloc + own.netloc and _place(url) == _place(own)
    except ValueError:
        return False


def _place(url: SplitResult) -> tuple[str | None, int]:
    return url.hostname, url.port or _PORTS[url.scheme]
