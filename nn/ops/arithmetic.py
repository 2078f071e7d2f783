"""Arithmetic, element by element. The inputs broadcast as in NumPy; the engine un-broadcasts."""

from __future__ import annotations

import numpy as np

from nn.ops.operation import Operation, broadcast_shape, same_shape


class Add(Operation):
    """a + b"""

    output_shape = staticmethod(broadcast_shape)

    def forward(self, a, b):
        return a + b

    def backward(self, grad_output):
        return grad_output, grad_output


class Subtract(Operation):
    """a - b"""

    output_shape = staticmethod(broadcast_shape)

    def forward(self, a, b):
        return a - b

    def backward(self, grad_output):
        return grad_output, -grad_output


class Multiply(Operation):
    """a b, with d(a b) = b da + a db"""

    output_shape = staticmethod(broadcast_shape)

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad_output):
        return (
            grad_output * self.b if self.needs_grad[0] else None,
            grad_output * self.a if self.needs_grad[1] else None,
        )


class Divide(Operation):
    """a / b, with d(a / b) = da / b - a db / b^2"""

    output_shape = staticmethod(broadcast_shape)

    def forward(self, a, b):
        self.a, self.b = a, b
        return a / b

    def backward(self, grad_output):
        return (
            grad_output / self.b if self.needs_grad[0] else None,
            -grad_output * self.a / (self.b * self.b) if self.needs_grad[1] else None,
        )


class Negate(Operation):
    """-a"""

    output_shape = staticmethod(same_shape)

    def forward(self, a):
        return -a

    def backward(self, grad_output):
        return -grad_output


class Power(Operation):
    """a^n for a number n, with d(a^n) = n a^(n-1) da"""

    output_shape = staticmethod(same_shape)

    def forward(self, a, exponent):
        self.a, self.exponent = a, exponent
        return np.power(a, a.dtype.type(exponent))

    def backward(self, grad_output):
        n = self.a.dtype.type(self.exponent)
        return grad_output * n * np.power(self.a, n - 1)
