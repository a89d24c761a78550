from __future__ import annotations

import json
import re
import sys

import pytest

from flowcli.bench import Setup, endurance, pipeline
from flowcli.bench.clock import Spread
from flowcli.bench.pipeline import Pipeline, Stage
from flowcli.cli.bench import parse_size
from flowcli.cli.main import main

SMALL = ["--size", "64x64", "--seconds", "0", "--device", "cpu"]


def test_sizes() -> None:
    assert parse_size("1024x436") == (1024, 436)
    assert parse_size("32x16384") == (32, 16384)


@pytest.mark.parametrize("text", ["0x0", "31x64", "64x16385", "64", "64x", "-64x64", "64x64x64", "64X64", "1e3x64"])
def test_bad_sizes(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", f"--size={text}"]) == 2
    assert capsys.readouterr() == (
        "",
        f"error: Invalid value for '--size': '{text}' is not WIDTHxHEIGHT, of 32 to 16384 pixels each (1024x436)\n"
        "hint: flowcli bench --help shows what there is\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        ("-m rpcw", 1, "unknown model: rpcw", "did you mean rpwc?"),
        ("-m dis", 2, "dis is no network", "flowcli bench pipeline --model dis"),
        (
            "pipelin",
            2,
            "Invalid value for '[kernels|network|pipeline|endurance]...': 'pipelin' is not one of *",
            "did you mean pipeline?",
        ),
        ("--seconds inf", 2, "Invalid value for '--seconds': inf is not in the range 0<=x<=3600.", "flowcli bench *"),
        ("--frames 2", 2, "Invalid value for '--frames': 2 is not in the range x>=3.", "flowcli bench *"),
        ("network -m spynet --refine 2", 1, "settings do not fit network spynet: *", "leave them out"),
    ],
)
def test_errors(arguments: str, code: int, error: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    for line, expected in zip(err.splitlines(), (f"error: {error}", f"hint: {hint}"), strict=True):
        assert line == expected or (expected.endswith("*") and line.startswith(expected[:-1]))


@pytest.mark.slow
def test_json_of_kernels_and_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", "network", *SMALL, "--precision", "fp32", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == "measuring: kernels\nmeasuring: network\n"
    found = json.loads(out)
    facts = ("model", "sha256", "width", "height", "batch", "device", "processor", "precision", "kernel", "cores")
    assert list(found) == [*facts, "threads", "load", "versions", "kernels", "network"]
    assert [found[name] for name in ("model", "width", "height", "batch", "device", "precision")] == [
        "rpwc", 64, 64, 8, "cpu", "fp32",
    ]  # fmt: skip
    for row in found["kernels"]["kernels"]:
        assert row["ratio"] == pytest.approx(row["fallback"]["median"] / row["seconds"]["median"])
    whole = found["network"]["rows"][2]
    assert whole["what"] == "whole"
    rate = 2e9 * whole["gmacs"] / whole["seconds"]["median"]
    assert whole["of_peak"] == pytest.approx(rate / found["network"]["flops_per_second"])
    assert whole["seconds"]["rounds"] == 3


@pytest.mark.slow
def test_tables_of_a_network_without_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "network", "-m", "spynet", *SMALL, "-q"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("spynet-random, 64x64, batch 1, fp32, ")
    assert lines[2].startswith("network: a large convolution does ")
    assert lines[3].split() == ["ms", "ratio", "GMAC", "GFLOP/s", "of", "peak"]
    assert [line.split()[0] for line in lines[4:]] == ["encode", "decode", "whole", "float32,", "torch", "OpenCV"]
    assert lines[6].split()[3] == "1.23"


@pytest.mark.slow
def test_a_network_that_makes_frames(small_videoinr: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "network", "-m", "videoinr", *SMALL]) == 0
    out, err = capsys.readouterr()
    assert err == "measuring: network\n"
    lines = out.splitlines()
    assert lines[0].startswith("videoinr-random, 64x64, batch 1, fp32, ")
    assert lines[2].startswith("network: a large convolution does ")
    assert [line.split()[0] for line in lines[4:7]] == ["encode", "decode", "encode,"]
    assert re.fullmatch(r"\d+ MB of memory at most, without the references", lines[7])
    assert main(["bench", "-m", "videoinr", *SMALL, "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    encode, decode, fallback = found["network"]["rows"]
    assert (found["width"], found["height"], found["precision"]) == (64, 64, "fp32")
    assert encode["gmacs"] > 0
    assert decode["gmacs"] > 0
    assert fallback["ratio"] == pytest.approx(fallback["seconds"]["median"] / encode["seconds"]["median"])
    assert found["network"]["memory"] > 100e6


def test_only_the_network_of_one_that_makes_frames(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "pipeline", "-m", "videoinr"]) == 2
    assert capsys.readouterr().err == (
        "error: videoinr makes frames, of which only the network is measured\n"
        "hint: flowcli bench network --model videoinr\n"
    )


@pytest.mark.slow
def test_without_ffmpeg_the_pipeline_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLOWCLI_FFMPEG", "no-such-program")
    assert main(["bench", "pipeline", *SMALL]) == 1
    out, err = capsys.readouterr()
    assert err == (
        "measuring: pipeline\nerror: FLOWCLI_FFMPEG is not a program: no-such-program\n"
        "hint: give the full path of an ffmpeg program\n"
    )
    assert main(["bench", *SMALL, "-m", "spynet", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == "pipeline skipped: FLOWCLI_FFMPEG is not a program: no-such-program"
    assert json.loads(out)["pipeline"] == {"skipped": "FLOWCLI_FFMPEG is not a program: no-such-program"}


@pytest.mark.slow
def test_without_the_package_ffmpeg_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "flowcli.video", None)
    assert main(["bench", "pipeline", *SMALL]) == 1
    assert "error: no ffmpeg: import of flowcli.video halted" in capsys.readouterr().err


def test_what_is_printed_of_a_pipeline(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def spread(median: float) -> Spread:
        return Spread(median, 0.5 * median, 2 * median, 3)

    stages = {"decode": Stage(spread(0.02), spread(0.01)), "network": Stage(spread(0.25), spread(0.2))}
    result = Pipeline(
        frames=40,
        seconds=spread(0.25),
        cpu_seconds=spread(0.3),
        cores=2,
        stages=stages,
        bound=0.2,
        bound_by="network alone",
        over_bound=1.25,
        references={"OpenCV DIS": spread(0.025)},
        ratios={"OpenCV DIS": 0.1},
        first_flow=spread(2),
        command=14.04,
        memory=512_000_000,
    )
    seen: list[Setup] = []

    def measure(setup: Setup) -> Pipeline:
        seen.append(setup)
        return result

    monkeypatch.setattr(pipeline, "measure", measure)
    assert main(["bench", "pipeline", "-m", "dis", "--size", "96x64", "--frames", "7", "--batch", "2", "-q"]) == 0
    assert [seen[0].height, seen[0].width, seen[0].frames, seen[0].engine.batch] == [64, 96, 7, 2]
    assert capsys.readouterr().out.splitlines()[1:] == [
        "",
        "pipeline: 40 frames, 4 pairs per second, 250 (125-500) ms each",
        "stage    per second  alone          ms alone",
        "decode           50    100  10.0 (5.00-20.0)",
        "network           4      5     200 (100-400)",
        "bound: 200 ms, network alone; the pipeline takes 1.25 times as long, and 300 ms of the CPU on 2 cores",
        "OpenCV DIS: 25.0 (12.5-50.0) ms for the flow alone, ratio 0.10",
        "the command: 2.0 s (1.0-4.0) for the first flow, 14.0 s for the clip, 512 MB at most without ffmpeg",
    ]


@pytest.mark.slow
def test_what_is_printed_of_endurance(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    minutes = [endurance.Minute(80.04, 512_000_000), endurance.Minute(81.26, None)]
    monkeypatch.setattr(endurance, "measure", lambda setup: endurance.Endurance(minutes))
    assert main(["bench", "endurance", *SMALL, "--frames", "3002", "-q"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "",
        "endurance",
        "minute  pairs per second   MB",
        "1                   80.0  512",
        "2                   81.3     ",
    ]
