"""`lighthead networks`: what the table says, and what it does not write over."""

import csv
import io
import re

from field_cases import complaint, run

from nn.models import NETWORKS
from nn.models.published import PUBLISHED


def table(text: str) -> list[dict[str, str]]:
    header, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    )
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_every_network_has_a_row(capsys):
    code, text, _ = run(capsys, "networks")
    rows = {row["network"]: row for row in table(text)}
    assert code == 0 and list(rows) == list(NETWORKS)
    assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1
    row = rows["resnet50"]
    assert row["parameters"] == "25,557,032" and row["multiply-adds"] == "4,089,184,256"
    assert (row["year"], row["side"], row["layers"]) == ("2015", "224", "54")  # and 4 shortcuts
    assert (row["top-1 error, %"], row["source"]) == ("23.87", "torchvision")
    assert "ms" not in row


def test_all_have_a_year_and_errors_have_a_source():
    assert set(PUBLISHED) == set(NETWORKS)
    for year, error, source in PUBLISHED.values():
        assert 2012 <= year <= 2020
        assert (error is None) == (source == "") and (error is None or 15 < error < 60)


def test_memory_access_is_the_thesis_equation(capsys):
    """Of the one network whose layers are few enough to add up here."""
    _, text, _ = run(capsys, "networks", "alexnet")
    (row,) = table(text)
    maps = [3 * 224**2, 64 * 55**2, 192 * 27**2, 384 * 13**2, 256 * 13**2, 256 * 13**2]
    pooled = [64 * 27**2, 192 * 13**2, 256 * 6**2]
    moved = sum(maps[:1]) + maps[1] + (maps[2] + pooled[0]) + (maps[3] + pooled[1])
    moved += (maps[4] + maps[3]) + (maps[5] + maps[4])  # what each convolution reads and writes
    moved += 2 * sum(maps[1:])  # five ReLUs
    moved += maps[1] + maps[2] + maps[5] + sum(pooled)  # poolings
    moved += 2 * pooled[2]  # adaptive means
    moved += (9216 + 4096) + 2 * 4096 + (4096 + 1000) + 4 * 4096  # fully connected, ReLUs
    assert int(row["memory access"].replace(",", "")) == moved + 61_100_840


def test_times_a_table_and_a_picture(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("detector.commands.networks.SECONDS", 0.0)
    files = ["--csv", str(tmp_path / "n.csv"), "--picture", str(tmp_path / "n.png")]
    for _ in range(2):  # its own files it writes again
        code, text, _ = run(capsys, "networks", "squeezenet1_1", "alexnet", "--time", *files)
        assert code == 0
    rows = table(text)
    assert [row["network"] for row in rows] == ["squeezenet1_1", "alexnet"]
    assert all(
        re.fullmatch(r"\d+\.\d\d", row[name]) for row in rows for name in ("ms", "compiled ms")
    )
    lines = list(csv.reader(io.StringIO((tmp_path / "n.csv").read_text("utf-8-sig"))))
    assert lines[0][0] == "network (lighthead)" and lines[1][:3] == ["squeezenet1_1", "2016", "224"]
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")


def test_files_of_others_stay(capsys, tmp_path):
    for name, option in (("mine.csv", "--csv"), ("mine.png", "--picture")):
        (tmp_path / name).write_text("mine")
        line = complaint(capsys, "networks", "alexnet", "--time", option, str(tmp_path / name))
        assert f"{name} is there already" in line
        assert (tmp_path / name).read_text() == "mine"
    line = complaint(capsys, "networks", "alexnet", "--picture", str(tmp_path / "new.png"))
    assert "--picture draws times: add --time" in line
    assert "no folder" in complaint(capsys, "networks", "alexnet", "--csv", "nowhere/x.csv")
