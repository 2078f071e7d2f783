"""The distribution ``lighthead``: packages ``nn``, ``detector`` and ``multitask``, one command."""

from pathlib import Path

from setuptools import find_packages, setup

TEST = ["pytest>=7.4", "hypothesis>=6.80", "nbclient>=0.8", "ipykernel>=6.20", "nbformat>=5.9"]
BOOK = ["markdown-it-py>=3", "mdit-py-plugins>=0.4", "pygments>=2.16", "ziamath>=0.11"]

setup(
    name="lighthead",
    version="0.1.0",
    description="A light-weight object detector and its distributed training, from scratch",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the lighthead authors",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["nn*", "detector*", "multitask*"]),
    py_modules=["lighthead"],
    install_requires=[
        "numpy>=1.24",
        "numba>=0.59",
        "pillow>=10.1",
        "pycocotools>=2.0.7",
        "pyyaml>=6.0",
        "matplotlib>=3.7",
        "tqdm>=4.65",
    ],
    extras_require={
        "test": TEST,
        "book": BOOK,
        "notebooks": ["jupyterlab>=4.0"],
        "bench": ["torch>=2.0", "onnx>=1.14", "onnxruntime>=1.16"],
        "ray": ["ray>=2.52"],
        "heic": ["pillow-heif>=0.16"],
    },
    entry_points={"console_scripts": ["lighthead=lighthead:main"]},
)
