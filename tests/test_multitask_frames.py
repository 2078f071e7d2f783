"""Frames and messages: what is sent is what arrives; whatever else arrives is a typed error."""

import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.core.registration import Registration
from multitask.errors import MultitaskError, ProtocolError, RegistrationError
from multitask.wire import frames, protocol
from multitask.wire.frames import HEADER, Allowed, FrameParser, Seal, encode
from multitask.wire.protocol import Kind

ANYTHING = {1: Allowed({"a": lambda value: True}, lambda metadata: metadata["a"], 2**20)}


def joined(pieces):
    return b"".join(bytes(piece) for piece in pieces)


def registration():
    return Registration.of(
        "digits", {"w": np.ones((2, 3), np.float32)}, {"n": np.zeros((), np.int64)}
    )


def conversation(key=None):
    """Every message of a site, with the ``allowed`` that applies to it, as bytes."""
    seal = Seal()
    seal.key = key
    metadata, payload = protocol.registration_message(registration(), "cd" * 32)
    training = protocol.training_allowed(24)
    messages = [
        (protocol.HELLO, Kind.HELLO, 0, {"nonce": "ab" * 32}, []),
        (protocol.PROOF, Kind.PROOF, 0, {"proof": "0f" * 32}, []),
        (protocol.register_allowed(2**20), Kind.REGISTER, 0, metadata, payload),
        (training, Kind.HEARTBEAT, 0, {}, []),
        (training, Kind.COMMIT, 3, {"absent": ["w"], "report": {"loss": 0.5}},
         [np.arange(24, dtype=np.uint8)]),
        (training, Kind.PULL, 4, {"buffers": True}, []),
        (training, Kind.LEAVE, 4, {"wait": False}, []),
    ]  # fmt: skip
    return [
        (allowed, index, joined(encode(seal, *message)))
        for index, (allowed, *message) in enumerate(messages)
    ]


def parser_at(allowed, index, key=None):
    parser = FrameParser(allowed)
    parser.seal.sequence, parser.seal.key = index, key
    return parser


def test_every_message_arrives_whole_whatever_the_pieces():
    for allowed, index, data in conversation(b"key"):
        whole = parser_at(allowed, index, b"key").feed(data)
        parser = parser_at(allowed, index, b"key")
        bytewise = [frame for byte in data for frame in parser.feed(bytes([byte]))]
        assert len(whole) == len(bytewise) == 1
        assert whole[0][:3] == bytewise[0][:3]
        assert whole[0].payload.tobytes() == bytewise[0].payload.tobytes()
    frame = parser_at(*conversation(b"key")[4][:2], b"key").feed(conversation(b"key")[4][2])[0]
    assert frame.kind == Kind.COMMIT and frame.iteration == 3
    assert frame.metadata == {"absent": ["w"], "report": {"loss": 0.5}}
    np.testing.assert_array_equal(frame.payload, np.arange(24))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.data())
def test_a_stream_of_frames_cut_anywhere(sizes, data):
    seal, parser = Seal(), FrameParser(ANYTHING)
    payloads = [np.arange(n).astype(np.uint8) for n in sizes]
    stream = b"".join(joined(encode(seal, 1, 7, {"a": p.nbytes}, [p])) for p in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    frames_out = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        frames_out += parser.feed(stream[begin:end])
    assert [f.payload.tobytes() for f in frames_out] == [p.tobytes() for p in payloads]


def test_registrations_survive_the_trip():
    sent = registration()
    seal, parser = Seal(), FrameParser(protocol.register_allowed(2**20))
    metadata, payload = protocol.registration_message(sent, "cd" * 32)
    (frame,) = parser.feed(joined(encode(seal, Kind.REGISTER, 0, metadata, payload)))
    received = protocol.read_registration(frame)
    assert received.digest() == sent.digest() and received.task == "digits"
    assert received.values.tobytes() == sent.values.tobytes()
    assert received.buffer_values.tobytes() == sent.buffer_values.tobytes()


# What is refused, by name


def forged(text=b"{}", payload=b"", **changes):
    """A frame with a right checksum and wrong contents."""
    values = {
        "magic": b"LHMT", "major": 1, "minor": 0, "kind": Kind.HEARTBEAT, "flags": 0,
        "sequence": 0, "iteration": 0, "metadata": len(text), "payload": len(payload), **changes,
    }  # fmt: skip
    crc = values.pop("crc", None)
    checked = HEADER.pack(*values.values(), 0, b"")[:36]
    crc = zlib.crc32(checked + text + payload) if crc is None else crc
    return checked + struct.pack("<I32s", crc, b"") + text + payload


TRAINING = protocol.training_allowed(24)
REGISTERING = protocol.register_allowed(1000)


def spec(name="w", dtype="<f4", shape=(1,)):
    import json

    spec = [name, dtype, list(shape)]
    registration = {"task": "a", "site": "cd" * 32, "parameters": [spec], "buffers": []}
    return json.dumps(registration).encode()


@pytest.mark.parametrize(
    ("allowed", "data", "message"),
    [
        (TRAINING, b"GET / HTTP/1.1\r\n", "not our protocol"),
        (TRAINING, b"\x16\x03\x01\x02\x00", "not our protocol"),
        (TRAINING, b"LHX", "not our protocol"),
        (TRAINING, forged(major=2), "version 2"),
        (TRAINING, forged(kind=Kind.HELLO), "out of place"),
        (protocol.HELLO, forged(kind=Kind.COMMIT, payload=b"x" * 24), "out of place"),
        (TRAINING, forged(flags=1), "flags"),
        (TRAINING, forged(sequence=1), "message 1 where 0"),
        (TRAINING, forged(metadata=2**32 - 1), "bytes of metadata"),
        (TRAINING, forged(kind=Kind.COMMIT, payload=b"x" * 23), "23 bytes where 24"),
        (TRAINING, forged(kind=Kind.COMMIT, payload=b"")[:72], "0 bytes where 24"),
        (TRAINING, struct.pack("<4sBBBBQQIQI32s", b"LHMT", 1, 0, 5, 0, 0, 0, 2, 2**63, 0, b""),
         "where 24"),
        (TRAINING, forged(crc=1), "checksum"),
        (TRAINING, forged(b"[]"), "not a JSON object"),
        (TRAINING, forged(b""), "not JSON"),
        (TRAINING, forged(b"\xff\xfe"), "not JSON"),
        (TRAINING, forged(b'{"a": 1}'), "needs exactly"),
        (TRAINING, forged(b'{"buffers": 1}', kind=Kind.PULL), "buffers cannot be '1'"),
        (TRAINING, forged(b'{"buffers": true, "buffers": true}', kind=Kind.PULL), "twice"),
        (TRAINING, forged(b'{"buffers": NaN}', kind=Kind.PULL), "NaN"),
        (TRAINING, forged(b'{"buffers":' + b"[" * 900, kind=Kind.PULL), "not JSON"),
        (TRAINING, forged(b'{"absent": [], "report": {"x": 1e999}}', b"x" * 24, kind=Kind.COMMIT),
         "report"),
        (TRAINING, forged(b'{"absent": [], "report": {"x": 1' + b"0" * 400 + b"}}", b"x" * 24,
                          kind=Kind.COMMIT), "report"),
        (REGISTERING, forged(spec(), kind=Kind.REGISTER), "0 bytes where 4"),
        (REGISTERING, forged(spec(shape=[2**62, 2**62]), kind=Kind.REGISTER), "impossible"),
        (REGISTERING, forged(spec(shape=[2**20]), kind=Kind.REGISTER), "this server takes 1000"),
        (REGISTERING, forged(spec(shape=[True]), kind=Kind.REGISTER), "parameters cannot be"),
        (REGISTERING, forged(spec(name="a b"), kind=Kind.REGISTER), "cannot be a name"),
        (REGISTERING, forged(spec(dtype="|O"), kind=Kind.REGISTER), "dtype"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_wrong_with_it(allowed, data, message):
    with pytest.raises(MultitaskError, match=message):
        FrameParser(allowed).feed(data)


def test_a_frame_of_another_session_or_replayed_is_refused():
    seal, other = Seal(), Seal()
    seal.key, other.key = b"ours", b"theirs"
    data = joined(encode(other, Kind.HEARTBEAT))
    with pytest.raises(ProtocolError, match="signature"):
        parser_at(TRAINING, 0, b"ours").feed(data)
    with pytest.raises(ProtocolError, match="signature"):
        parser_at(TRAINING, 0, b"ours").feed(forged())
    data = joined(encode(seal, Kind.HEARTBEAT))
    parser = parser_at(TRAINING, 0, b"ours")
    parser.feed(data)
    with pytest.raises(ProtocolError, match="message 0 where 1 was due"):
        parser.feed(data)


def test_a_signed_payload_cannot_be_exchanged_for_one_with_the_same_checksum():
    seal = Seal()
    seal.key = b"key"
    original = np.frombuffer(b"12345678", np.uint8)
    for sign_payload in (False, True):
        seal.sequence, seal.sign_payload = 0, sign_payload
        data = joined(encode(seal, 1, 0, {"a": 8}, [original]))
        text = b'{"a":8}'
        # Four bytes that bring the checksum back, found by running the CRC backwards.
        swapped = _same_crc(data[:36] + text, b"12345678", b"9999")
        parser = parser_at(ANYTHING, 0, b"key")
        parser.seal.sign_payload = sign_payload
        if sign_payload:
            with pytest.raises(ProtocolError, match="signature"):
                parser.feed(data[:-8] + swapped)
        else:
            assert parser.feed(data[:-8] + swapped)[0].payload.tobytes() == swapped


def _same_crc(prefix, old, new_start):
    """``new_start`` and four more bytes, so that the CRC32 of prefix + result is that of old."""
    table = [zlib.crc32(bytes([i]), 0xFFFFFFFF) ^ 0xFFFFFFFF for i in range(256)]
    by_top = {entry >> 24: index for index, entry in enumerate(table)}
    want = zlib.crc32(prefix + old) ^ 0xFFFFFFFF
    have = zlib.crc32(prefix + new_start) ^ 0xFFFFFFFF
    for _ in range(4):
        index = by_top[want >> 24]
        want = ((want ^ table[index]) << 8 | index) & 0xFFFFFFFF
    patch = want ^ have
    result = new_start + patch.to_bytes(4, "little")
    assert zlib.crc32(prefix + result) == zlib.crc32(prefix + old)
    return result


# What is refused, by force


def mutate(data, rng):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        place, action = rng.randrange(len(data)), rng.randrange(6)
        if action == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif action == 1:
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x7B))
        elif action == 2:
            data[place:place] = rng.randbytes(rng.randrange(1, 9))
        elif action == 3 and len(data) > 9:
            del data[place : place + rng.randrange(1, 9)]
        elif action == 4:
            data[place:] = data[place:] + data[place:]
        elif len(data) >= 72:
            # Past the checksum, so that the checks behind it have something to do.
            data[36:40] = zlib.crc32(data[:36] + data[72:]).to_bytes(4, "little")
        data = data or bytearray(b"L")
    return bytes(data)


def feed_mutants(count, seed):
    rng = random.Random(seed)
    messages, outcomes = conversation(), {}
    for _ in range(count):
        allowed, index, data = rng.choice(messages)
        parser = parser_at(allowed, index)
        try:
            received = parser.feed(mutate(data, rng))
            outcome = f"{len(received)} frames"
            for frame in received:
                assert frame.kind in allowed and set(frame.metadata) == set(allowed[frame.kind][0])
                assert frame.payload.nbytes <= 24 + 1000
        except (ProtocolError, RegistrationError) as error:
            outcome = str(error)[:24]
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


def test_a_hundred_thousand_mutated_frames_end_in_frames_or_typed_errors():
    outcomes = feed_mutants(100_000, seed=1)
    # The mutants got everywhere: each kind of refusal was met, and some came through unharmed.
    beginnings = (
        "this is not our", "version", "a message of kind", "unknown flags", "message ",
        "the checksum", "the metadata is not", "a payload of", "1 frames", "0 frames",
        "the signature",
    )  # fmt: skip
    for beginning in beginnings:
        assert any(outcome.startswith(beginning) for outcome in outcomes), beginning


@pytest.mark.nightly
def test_a_million_mutated_frames():
    feed_mutants(1_000_000, seed=2)


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_noise_after_a_valid_header(noise):
    for start in (b"", b"LHMT\x01", forged(), forged()[:70]):
        try:
            FrameParser(TRAINING).feed(start + noise)
        except ProtocolError:
            pass


def test_a_parser_reserves_memory_only_for_what_was_registered():
    parser = FrameParser(TRAINING)
    with pytest.raises(ProtocolError):
        parser.feed(forged(kind=Kind.COMMIT, payload=b"")[:40] + b"\xff" * 32)
    assert len(parser.buffer()) <= 72
    assert frames.MAX_METADATA == 2**20
