"""Users are told why the first run starts slowly."""

import io

import numba

from nn.kernels.machine.notice import compilation_notice


class Terminal(io.StringIO):
    def isatty(self):
        return True


def compile_two(stream):
    @numba.njit
    def helper(x):
        return x + 1

    @numba.njit
    def outer(x):
        return helper(x) * 2

    with compilation_notice(stream):
        assert outer(1) == 4
        assert outer(1.5) == 5.0
        outer(2)  # compiled already: no word
    return stream.getvalue()


def test_a_file_gets_one_line():
    text = compile_two(io.StringIO())
    assert text.count("compiling kernels") == 1 and text.endswith("\n")


def test_kernels_that_are_not_kept_are_not_promised_to_be():
    text = compile_two(io.StringIO())  # without cache=True
    assert "cannot be kept" in text and "NUMBA_CACHE_DIR" in text and "once" not in text

    # As where a folder can be written: Numba's own cache of a function in a file.
    @numba.njit(cache=True)
    def kept(x):
        return x - 2

    stream = io.StringIO()
    with compilation_notice(stream):
        kept._cache._cache_file.flush()
        kept(1)
    assert "so this happens once" in stream.getvalue()


def test_a_terminal_sees_the_kernel_and_is_left_clean():
    text = compile_two(Terminal())
    assert text.count("(outer)") == 2 and "helper" not in text
    assert text.endswith("\r\033[K")


def test_silence_where_nothing_is_compiled():
    stream = io.StringIO()
    with compilation_notice(stream):
        pass

    @numba.njit
    def later(x):
        return x

    later(1)
    assert stream.getvalue() == ""
