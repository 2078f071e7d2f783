"""Strangers at the door: whatever they send, training goes on and not a bit of it changes."""

import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
import zlib

import numpy as np
import pytest
from multitask_toys import Toy, run_threads, run_together
from test_multitask_failures import stop_while_one_computes

from benchmarks.memory import resident
from multitask import LocalServer, ParameterServer, errors
from multitask.wire.frames import HEADER, Seal, encode
from multitask.wire.protocol import Kind
from multitask.wire.transport import HAS_UNIX, parse_address, server_tls, site_tls

TOKEN = b"the token of these tests"


def dial(server):
    address = parse_address(server.address)
    return socket.create_connection((address.host, address.port), 10)


def say(server, data, wait=True):
    """Send bytes as a stranger; the answer until the server hangs up, within 5 s or so."""
    with dial(server) as connection:
        connection.settimeout(8)
        answer = b""
        try:
            connection.sendall(data)
            if wait:
                while piece := connection.recv(65536):
                    answer += piece
        except ConnectionError:
            pass
        return answer


def frame(kind, text=b"{}", metadata_length=None, payload_length=0):
    length = len(text) if metadata_length is None else metadata_length
    header = (b"LHMT", 1, 0, kind, 0, 0, 0, length, payload_length, 0, b"")
    checked = HEADER.pack(*header)[:36]
    return checked + struct.pack("<I32s", zlib.crc32(checked + text), b"") + text


HELLO = frame(Kind.HELLO, b'{"nonce":"' + b"ab" * 32 + b'"}')


def hostile_bytes(rng):
    kind = rng.randrange(8)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 300))
    if kind == 1:
        return b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % rng.randrange(10)
    if kind == 2:
        return b"\x16\x03\x01" + rng.randbytes(200)
    if kind == 3:
        return frame(Kind.COMMIT, payload_length=rng.choice((2**63, 2**32, 200)))
    if kind == 4:
        return frame(Kind.REGISTER, metadata_length=rng.choice((2**32 - 1, 2**20, 9)))
    if kind == 5:
        return HELLO + rng.randbytes(100)
    data = bytearray(HELLO)
    for _ in range(3):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def attack(server, count, seed):
    rng = random.Random(seed)
    for _ in range(count):
        say(server, hostile_bytes(rng), wait=False)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_thousands_of_hostile_connections_change_no_bit(count):
    iterations = 60
    expected = run_together([Toy("a"), Toy("b")], LocalServer(2), iterations)
    toys, attacked = [Toy("a"), Toy("b")], threading.Event()
    with ParameterServer(2, token=TOKEN) as server:
        before = resident()

        def train(toy):
            optimizer = toy.optimizer(server.address, token=TOKEN)
            toy.train(optimizer, iterations, in_the_midst)

        def in_the_midst(iteration):
            time.sleep(0.02)
            if iteration == iterations - 1:
                attacked.wait()

        def attack_all():
            try:
                attack(server, count, seed=count)
            finally:
                attacked.set()

        run_threads([attack_all, *(lambda toy=toy: train(toy) for toy in toys)], timeout=120)
        assert resident() - before < 64e6
    assert [toy.digest() for toy in toys] == expected


def test_strangers_cannot_fill_the_disk_through_the_diary():
    log = []
    with ParameterServer(1, token=TOKEN, report=log.append) as server:
        for _ in range(300):
            say(server, b"GET / HTTP/1.1\r\n", wait=False)
        deadline = time.monotonic() + 5
        while not any(entry.get("count") == 256 for entry in log) and time.monotonic() < deadline:
            time.sleep(0.01)
        say(server, b"X")  # answered only after all that came before
    counts = [entry["count"] for entry in log if entry["event"] == "refused"]
    assert counts == [*range(1, 101), 128, 256]


def test_strangers_are_hung_up_on_at_once():
    with ParameterServer(1, token=TOKEN) as server:
        begun = time.monotonic()
        for data in (b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x00", b"X", frame(Kind.COMMIT)):
            assert b"ProtocolError" in say(server, data)
        huge = say(server, frame(Kind.HELLO, payload_length=2**62))
        assert b"where 0 are due" in huge
        assert time.monotonic() - begun < 4


def test_slow_drips_and_half_open_connections_end_at_the_deadline():
    with ParameterServer(1, token=TOKEN) as server:
        with dial(server) as silent, dial(server) as dripping:
            begun = time.monotonic()
            dripping.settimeout(0.2)
            for byte in HELLO:
                try:
                    dripping.sendall(bytes([byte]))
                    if dripping.recv(1) == b"":
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            assert 3 < time.monotonic() - begun < 9
            silent.settimeout(3)
            assert silent.recv(1) == b""


def test_256_silent_connections_do_not_keep_a_site_out():
    with ParameterServer(1, token=TOKEN) as server:
        silent = [dial(server) for _ in range(256)]
        toy, begun = Toy("a"), time.monotonic()
        optimizer = toy.optimizer(server.address, token=TOKEN)
        assert time.monotonic() - begun < 1
        toy.backward(0)
        optimizer.step()
        optimizer.finish(wait=False)
        silent[0].settimeout(3)  # the oldest had to make room
        assert silent[0].recv(1) == b"" and time.monotonic() - begun < 3
        for connection in silent:
            connection.close()


def test_a_wrong_token():
    log = []
    with ParameterServer(1, token=TOKEN, report=log.append) as server:
        for token in (b"not the token of these", b""):
            with pytest.raises(errors.AuthenticationError, match="same LIGHTHEAD_TOKEN"):
                Toy("a").optimizer(server.address, token=token)
        Toy("a").optimizer(server.address, token=TOKEN).finish(wait=False)
    assert all(TOKEN.decode() not in str(entry) for entry in log)
    assert sum(entry["event"] == "refused" for entry in log) == 2


def test_a_server_without_the_token_learns_nothing_and_is_not_believed():
    with ParameterServer(1, token=TOKEN) as server, socket.create_server(("127.0.0.1", 0)) as fake:

        def man_in_the_middle():
            # Passes everything on until the proof, then says WELCOME itself.
            site, _ = fake.accept()
            with site, dial(server) as behind:
                behind.sendall(site.recv(65536))
                site.sendall(behind.recv(65536))
                site.recv(65536)
                seal = Seal()
                seal.sequence = 1
                welcome = {"proof": "00" * 32, "sign_payload": False}
                site.sendall(b"".join(bytes(p) for p in encode(seal, Kind.WELCOME, 0, welcome)))
                time.sleep(0.2)

        def site():
            address = f"127.0.0.1:{fake.getsockname()[1]}"
            with pytest.raises(errors.AuthenticationError, match="does not know our token"):
                Toy("a").optimizer(address, token=TOKEN)

        run_threads([man_in_the_middle, site])


class Recorder(threading.Thread):
    """A relay that keeps what the site says."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.said = server, b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        site, _ = self.listener.accept()
        behind = dial(self.server)

        def back():
            while data := behind.recv(65536):
                site.sendall(data)
            site.close()

        threading.Thread(target=back, daemon=True).start()
        while data := site.recv(65536):
            self.said += data
            behind.sendall(data)


def test_a_recorded_session_cannot_be_played_again():
    toy = Toy("a")
    with ParameterServer(2, token=TOKEN) as server:
        recorder = Recorder(server)
        b = Toy("b")

        def record():
            optimizer = toy.optimizer(recorder.address, token=TOKEN)
            toy.backward(0)
            optimizer.step()
            optimizer.finish()

        def other():
            optimizer = b.optimizer(server.address, token=TOKEN)
            b.backward(0)
            optimizer.step()
            weights = b.parameters["shared.weight"].data.copy()
            answer = say(server, recorder.said)
            assert b"AuthenticationError" in answer and b"LHMT" in answer
            optimizer.finish()
            np.testing.assert_array_equal(b.parameters["shared.weight"].data, weights)

        run_threads([record, other])


@pytest.mark.parametrize("sign", [True, False])
def test_an_open_address_signs_what_it_sends(sign):
    """Reached over loopback here, but bound to every interface."""
    expected = run_together([Toy("a")], LocalServer(1), 5)
    options = {"address": "0.0.0.0:0", "insecure_lan": True} if sign else {}
    toy = Toy("a")
    with ParameterServer(1, token=TOKEN, **options) as server:
        port = parse_address(server.address).port
        optimizer = toy.optimizer(f"127.0.0.1:{port}", token=TOKEN)
        assert optimizer.site._seal.sign_payload == sign
        toy.train(optimizer, 5)
    assert [toy.digest()] == expected
    with pytest.raises(errors.UnsafeAddressError):
        ParameterServer(1, "0.0.0.0:0", token=TOKEN)


@pytest.fixture
def certificate(tmp_path):
    """A folder with cert.pem and key.pem of a server at 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl to make a certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=server",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path


def test_over_tls_too_a_stop_is_heard_by_who_computes(certificate, monkeypatch):
    monkeypatch.setattr("multitask.server.server.LINGER", 0.2)
    tls = server_tls(certificate / "cert.pem", certificate / "key.pem")
    stop_while_one_computes(ParameterServer(2, tls=tls), tls=site_tls(certificate / "cert.pem"))


def test_tls(certificate):
    shared = (120, 300)  # larger than a TLS record
    names = ["a", "b"]
    expected = run_together([Toy(name, shared) for name in names], LocalServer(2), 10)
    toys = [Toy(name, shared) for name in names]
    tls = server_tls(certificate / "cert.pem", certificate / "key.pem")
    with ParameterServer(2, "0.0.0.0:0", token=TOKEN, tls=tls) as server:
        address = f"127.0.0.1:{parse_address(server.address).port}"
        with pytest.raises(errors.AuthenticationError, match="certificate|self"):
            Toy("a").optimizer(address, token=TOKEN, tls=site_tls(), patience=1)
        trusting = site_tls(certificate / "cert.pem")

        def train(toy):
            toy.train(toy.optimizer(address, token=TOKEN, tls=trusting), 10)

        run_threads([lambda toy=toy: train(toy) for toy in toys])
    assert [toy.digest() for toy in toys] == expected


def test_tls_on_one_side_only(certificate, tmp_path):
    tls = server_tls(certificate / "cert.pem", certificate / "key.pem")
    with ParameterServer(1, token=TOKEN) as server:
        begun = time.monotonic()
        with pytest.raises(errors.AuthenticationError, match="does not speak TLS"):
            Toy("a").optimizer(server.address, token=TOKEN, tls=site_tls(), patience=20)
        assert time.monotonic() - begun < 5  # trying again would not help
    with ParameterServer(1, "127.0.0.1:0", token=TOKEN, tls=tls) as server:
        with pytest.raises(errors.MultitaskError, match="wants TLS|not our protocol"):
            Toy("a").optimizer(server.address, token=TOKEN, patience=0.3)
    if HAS_UNIX:
        with pytest.raises(ValueError, match="needs no TLS"):
            ParameterServer(1, f"unix:{tmp_path}/s", tls=tls)
