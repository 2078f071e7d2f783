"""Tokens, proofs, and the refusal to listen where strangers are."""

import os
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from multitask.errors import AuthenticationError, UnsafeAddressError
from multitask.wire import authentication, transport
from multitask.wire.authentication import is_proof, proof, read_token, server_role, session_key

TOKEN = b"a token of a good length"
posix = pytest.mark.skipif(os.name != "posix", reason="file modes and Unix sockets are POSIX")


def test_a_proof_is_for_one_token_one_role_and_one_pair_of_nonces():
    given = proof(TOKEN, "site", "aa", "bb")
    assert is_proof(given, TOKEN, "site", "aa", "bb")
    for other in [
        (TOKEN + b"!", "site", "aa", "bb"),
        (TOKEN, "server", "aa", "bb"),
        (TOKEN, "site", "bb", "aa"),
        (TOKEN, "site", "aab", "b"),
    ]:
        assert not is_proof(given, *other)
    secrets = {
        session_key(TOKEN, "site", "aa", "bb").hex(),
        session_key(TOKEN, "server", "aa", "bb").hex(),
        given,
        proof(TOKEN, server_role(True), "aa", "bb"),
        proof(TOKEN, server_role(False), "aa", "bb"),
    }
    assert len(secrets) == 5
    assert authentication.new_nonce() != authentication.new_nonce()


def test_the_token_comes_from_the_environment_or_from_nowhere():
    assert read_token(environment={"LIGHTHEAD_TOKEN": TOKEN.decode() + "\n"}) == TOKEN
    assert read_token(environment={}) == b""
    with pytest.raises(AuthenticationError, match="can be guessed"):
        read_token(environment={"LIGHTHEAD_TOKEN": "secret"})


@posix
def test_a_token_file_must_be_private(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(TOKEN + b"\n")
    path.chmod(0o600)
    assert read_token(path, {"LIGHTHEAD_TOKEN": "another one, and long"}) == TOKEN
    for mode in (0o640, 0o604, 0o666):
        path.chmod(mode)
        with pytest.raises(AuthenticationError, match="chmod 600"):
            read_token(path)
    path.chmod(0o600)
    path.write_bytes(b"")
    with pytest.raises(AuthenticationError, match="can be guessed"):
        read_token(path)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(AuthenticationError, match="link is a link"):
        read_token(link)
    (tmp_path / "folder").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "pipe", 0o600)  # opening it would wait for who writes
    for name in ("folder", "pipe"):
        with pytest.raises(AuthenticationError, match=f"{name} is not a file"):
            read_token(tmp_path / name)
    with pytest.raises(OSError):
        read_token(tmp_path / "missing")


def outcome(read):
    """The token, or None if it is refused."""
    try:
        return read()
    except AuthenticationError:
        return None


def private(path, content: bytes):
    path.write_bytes(content)
    path.chmod(0o600)
    return path


# What editors and shells write, letters of all lengths in UTF-8, and bytes that are no text.
SECRETS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=14).map(
        str.encode
    ),
    st.text("aяЪ秘\u00a0 \n", min_size=14, max_size=24).map(str.encode),
    st.binary(min_size=14, max_size=40).filter(lambda secret: b"\0" not in secret),
)


@posix
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SECRETS, SECRETS)
def test_different_secrets_are_different_tokens(tmp_path, first, second):
    """From a file and from the environment, which take the same text for the same token."""
    tokens = []
    for secret in (first, second):
        path = private(tmp_path / "token", secret)
        variable = {"LIGHTHEAD_TOKEN": os.fsdecode(secret)}
        token = outcome(lambda path=path: read_token(path))
        if secret.strip():  # an empty variable is none
            assert outcome(lambda variable=variable: read_token(environment=variable)) == token
        assert token is None or token == secret.removeprefix(b"\xef\xbb\xbf").strip()
        tokens.append(token)
    if None not in tokens and tokens[0] != tokens[1]:
        theirs = proof(tokens[0], "site", "aa", "bb")
        assert not is_proof(theirs, tokens[1], "site", "aa", "bb")


@posix
def test_the_token_of_a_stranger_with_as_many_letters(tmp_path):
    mine = read_token(private(tmp_path / "mine", "моясекретнаяфразаодин".encode()))
    stranger = read_token(private(tmp_path / "stranger", ("Ъ" * 21).encode()))
    assert mine == "моясекретнаяфразаодин".encode() != stranger
    assert not is_proof(proof(stranger, "site", "aa", "bb"), mine, "site", "aa", "bb")


@posix
def test_a_token_counts_characters(tmp_path):
    for secret in ("Ъ" * 15, "秘密", "é" * 8):
        for encoding in ("utf-8", "utf-8-sig"):
            with pytest.raises(AuthenticationError, match=f"of {len(secret)} characters"):
                read_token(private(tmp_path / "token", secret.encode(encoding)))
        with pytest.raises(AuthenticationError, match=f"of {len(secret)} characters"):
            read_token(environment={"LIGHTHEAD_TOKEN": secret})
        with pytest.raises(AuthenticationError, match=f"of {len(secret)} characters"):
            authentication.token_or_default(secret)
    assert authentication.token_or_default(b"\xff" * 16) == b"\xff" * 16
    # What some shells on Windows write for > token.
    path = private(tmp_path / "token", TOKEN.decode().encode("utf-16"))
    with pytest.raises(AuthenticationError, match="token is not text in UTF-8; make one with"):
        read_token(path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80, "")),
        ("[::1]:29500", ("::1", 29500, "")),
        (":29500", ("", 29500, "")),
    ],
)
def test_addresses(text, address):
    parsed = transport.parse_address(text)
    assert parsed == address and str(parsed) == text


@pytest.mark.parametrize("text", ["", "localhost", "host:", "host:70000", "host:-1", "host:٣"])
def test_texts_that_are_no_address(text):
    with pytest.raises(ValueError, match="not an address"):
        transport.parse_address(text)


@posix
def test_unix_addresses(tmp_path):
    parsed = transport.parse_address("unix:/tmp/x")
    assert parsed.path == "/tmp/x" and str(parsed) == "unix:/tmp/x"
    with pytest.raises(ValueError, match="at most"):
        transport.parse_address("unix:/" + "x" * 200)
    assert transport.local_address("/" + "x" * 200) == "127.0.0.1:0"


def test_strangers_are_kept_out():
    check = transport.check_safe
    for local in ("127.0.0.1:0", "127.8.8.8:1", "[::1]:0", "localhost:0"):
        check(transport.parse_address(local), b"", False, False)
    for routable in ("0.0.0.0:0", ":0", "[::]:0", "192.168.1.7:1", "8.8.8.8:1"):
        address = transport.parse_address(routable)
        with pytest.raises(UnsafeAddressError, match="set a token"):
            check(address, b"", True, True)
        with pytest.raises(UnsafeAddressError, match="TLS certificate"):
            check(address, TOKEN, False, False)
        check(address, TOKEN, True, False)
        check(address, TOKEN, False, True)


@posix
def test_a_unix_socket_is_private_and_outlives_no_killed_server(tmp_path):
    address = transport.parse_address(transport.local_address(tmp_path))
    first = transport.listen(address)
    assert os.stat(address.path).st_mode & 0o177 == 0
    with pytest.raises(OSError, match="server.socket"):
        transport.listen(address)  # somebody lives there
    first.close()  # as kill -9 would: the file stays
    second = transport.listen(address)
    transport.connect(address, 1.0, None).close()
    second.close()
    (tmp_path / "server.socket").unlink()
    (tmp_path / "server.socket").write_text("an ordinary file is never removed")
    with pytest.raises(OSError):
        transport.listen(address)
    assert (tmp_path / "server.socket").read_text().startswith("an ordinary")


def test_a_port_of_the_systems_choice():
    asked = transport.parse_address("127.0.0.1:0")
    with transport.listen(asked) as listener:
        address = transport.bound_address(listener, asked)
        assert address.port > 0
        with pytest.raises(OSError, match="127.0.0.1"):
            transport.listen(address)
        transport.connect(address, 1.0, None).close()
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        with pytest.raises(OSError):
            transport.connect(transport.Address("127.0.0.1", unbound.getsockname()[1]), 0.5, None)
