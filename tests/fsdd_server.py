"""A small stand-in for FSDD, archives of it, and a server on loopback that fails in the ways servers do."""

from __future__ import annotations

import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import soundfile

TOP = "free-spoken-digit-dataset-1.0.10"


def make_recordings(n_takes: int = 7, seed: int = 0) -> dict[str, bytes]:
    """Short noises named as FSDD names its recordings: 2 digits, 2 speakers, n_takes takes; each of another length."""
    rng = np.random.default_rng(seed)
    recordings = {}
    for i_clip, (digit, speaker, take) in enumerate((d, s, t) for d in (0, 7) for s in "ab" for t in range(n_takes)):
        wav = io.BytesIO()
        soundfile.write(wav, rng.uniform(-0.5, 0.5, 300 + i_clip), 8000, format="WAV", subtype="PCM_16")
        recordings[f"{digit}_{speaker}_{take}.wav"] = wav.getvalue()
    return recordings


def tar_gz(recordings: Mapping[str, bytes], *extra: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> bytes:
    """A .tar.gz laid out as GitHub's release archive, with further members before the recordings."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for info, content in extra:
            info.size = info.size or len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, content in recordings.items():
            info = tarfile.TarInfo(f"{TOP}/recordings/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def zipped(recordings: Mapping[str, bytes], *extra: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in extra:
            archive.writestr(info, content)
        for name, content in recordings.items():
            archive.writestr(f"{TOP}/recordings/{name}", content)
    return file.getvalue()


class Server:
    """What the next requests get: a list of answers, each called with the request handler; the last one repeats."""

    def __init__(self, url: str) -> None:
        self.url, self.n_requests = url, 0
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []


@contextmanager
def running_server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = server.answers[min(server.n_requests, len(server.answers) - 1)]
            server.n_requests += 1
            self.close_connection = True
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads, http.block_on_close = True, False
        server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1.0.10.tar.gz")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()


def sends(content: bytes, *, n_said: int | None = None, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends the content, and says that it has n_said bytes; the connection is closed after what there is."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content) if n_said is None else n_said))
        request.end_headers()
        request.wfile.write(content)

    return answer


def sends_chunks(content: bytes, *, ends: bool) -> Callable[[BaseHTTPRequestHandler], None]:
    """Sends the content without saying how long it is, as GitHub does; `ends` says whether the last chunk comes."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n" + (b"0\r\n\r\n" if ends else b""))

    return answer
