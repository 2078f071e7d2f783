"""Weights by name, from a server on this machine that behaves well or badly."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from detector.errors import UserError
from detector.training import published_weights as module
from detector.training.published_weights import cache_folder, is_whole, published_weights

CONTENT = os.urandom(300_000)
NAME = f"net-{hashlib.sha256(CONTENT).hexdigest()[:10]}.pth"


class Server(BaseHTTPRequestHandler):
    """Answers as ``how`` says."""

    how = "whole"
    requests = 0

    def do_GET(self):
        type(self).requests += 1
        if self.how == "absent":
            return self.send_error(404)
        body = CONTENT if self.how != "wrong" else b"x" * len(CONTENT)
        self.send_response(200)
        if self.how != "unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.how in ("cut", "unsized"):
            body = body[:1000]
        for k in range(0, len(body), 30_000):
            self.wfile.write(body[k : k + 30_000])
            if self.how == "slow":
                time.sleep(0.03)
            if self.how == "stuck":
                time.sleep(2)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    Server.how, Server.requests = "whole", 0
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{http.server_port}/{NAME}"

    class Network:
        weights = {"imagenet": url}

    monkeypatch.setattr(module, "NETWORKS", {"small": lambda num_classes: Network})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home")
    monkeypatch.delenv("LIGHTHEAD_WEIGHTS", raising=False)
    yield Server
    http.shutdown()
    http.server_close()


def left_behind() -> list[str]:
    return [path.name for path in cache_folder().iterdir()] if cache_folder().is_dir() else []


@pytest.mark.parametrize("how", ["whole", "slow"])
def test_it_is_downloaded_once(server, how):
    server.how = how
    path = published_weights("small")
    assert path.read_bytes() == CONTENT and left_behind() == [NAME]
    assert published_weights("small") == path and server.requests == 1


@pytest.mark.parametrize("how", ["absent", "cut", "unsized", "wrong", "stuck"])
def test_a_wrong_file_is_never_taken(server, how, monkeypatch):
    server.how = how
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    with pytest.raises(UserError) as caught:
        published_weights("small")
    line = str(caught.value)
    assert "\n" not in line and f"{NAME} into {cache_folder()}" in line
    assert "--init-from none" in line and left_behind() == []
    server.how = "whole"
    assert published_weights("small").read_bytes() == CONTENT


def test_a_damaged_file_in_the_cache_is_downloaded_anew(server):
    path = published_weights("small")
    path.write_bytes(CONTENT[:-1])
    assert published_weights("small").read_bytes() == CONTENT and server.requests == 2


def test_the_own_folder_comes_first(server, monkeypatch, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("LIGHTHEAD_WEIGHTS", str(own))
    (own / NAME).write_bytes(CONTENT)
    assert published_weights("small") == own / NAME and server.requests == 0
    (own / NAME).write_bytes(b"another")
    with pytest.raises(UserError, match="is damaged"):
        published_weights("small")


def test_several_at_once_get_the_right_file(server):
    server.how = "slow"
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(published_weights, ["small"] * 4))
    assert len(set(paths)) == 1 and is_whole(paths[0]) and left_behind() == [NAME]


def test_a_cache_that_cannot_be_written(server, tmp_path):
    cache_folder().parent.mkdir(parents=True)
    cache_folder().write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot write to") as caught:
        published_weights("small")
    assert "\n" not in str(caught.value)


def test_a_network_without_published_weights(server, monkeypatch):
    class Network:
        weights = {}

    monkeypatch.setattr(module, "NETWORKS", {"new": lambda num_classes: Network})
    with pytest.raises(UserError, match="--init-from none"):
        published_weights("new")
