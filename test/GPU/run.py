#!/usr/bin/env python3
# ===- run.py - Runs a packed GPU suite ----------------------------*- python -*-===#
#
# Part of QLinear, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# ===------------------------------------------------------------------------===#
"""Runs the packed suite beside it on a device. A test is one function with one number
of rows: its results are compared with float64 by quant-run, and with the results that
came with the suite; or it is called over and over by gpu-stress. The last line is
`N passed, N failed, N skipped`.
"""

import argparse
import collections
import concurrent.futures
import itertools
import json
import lzma
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))

# Largest difference between two devices, |a - b| / |b| of a row: sums in f32 whose
# products are contracted in another way (against float64 the emulated device is off by
# up to 8e-6 where N = 1 and terms cancel), or one step of the type.
DIFFERENCE = {"F32": 2e-5, "F16": 2**-10, "BF16": 2**-7}
# What the sanitizers run, in reasonable time: their machine code is 100 times slower.
SANITIZER_ROWS = [1, 3, 8]

Test = collections.namedtuple("Test", "state name text differing results")


def tensors(data):
    """{name: (dtype, shape, bytes)} of a safetensors file."""
    (size,) = struct.unpack_from("<Q", data)
    found = {}
    for name, spec in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in spec["data_offsets"])
            found[name] = spec["dtype"], spec["shape"], data[begin:end]
    return found


def numbers(dtype, data):
    if dtype == "F32":
        return struct.unpack(f"<{len(data) // 4}f", data)
    if dtype == "F16":
        return struct.unpack(f"<{len(data) // 2}e", data)
    words = struct.unpack(f"<{len(data) // 2}H", data)
    wide = struct.pack(f"<{len(words)}I", *(w << 16 for w in words))
    return struct.unpack(f"<{len(words)}f", wide)


WIDTH = {"F32": 4, "F16": 2, "BF16": 2, "I8": 1}


def count_differing(a, b, width):
    """The numbers of b, of `width` bytes, that are others in a."""
    return sum(a[i : i + width] != b[i : i + width] for i in range(0, len(b), width))


def compare(got, want, exact):
    """(what is wrong or '', numbers that differ, numbers) of two files."""
    got, want = tensors(got), tensors(want)
    if got.keys() != want.keys():
        return f"results {sorted(got)}, expected {sorted(want)}", 0, 0
    wrong, differing, total = "", 0, 0
    for name, (dtype, shape, b) in want.items():
        if got[name][:2] != (dtype, shape):
            return f"{name} is {got[name][:2]}, expected {(dtype, shape)}", 0, 0
        a, width = got[name][2], WIDTH[dtype]
        at = count_differing(a, b, width)
        differing, total = differing + at, total + len(b) // width
        if not at:
            continue
        if exact or dtype == "I8":
            wrong = wrong or f"{name}: {at} of {len(b) // width} results differ in bits"
            continue
        x, y = numbers(dtype, a), numbers(dtype, b)
        for row in range(shape[0]):
            columns = slice(row * shape[1], (row + 1) * shape[1])
            # What is NaN in both is the same.
            pairs = [(a, b) for a, b in zip(x[columns], y[columns]) if a == a or b == b]
            difference = math.hypot(*(a - b for a, b in pairs))
            norm = math.hypot(*(b for _, b in pairs))
            if not difference <= DIFFERENCE[dtype] * norm:  # also where a NaN is
                wrong = wrong or (
                    f"{name} row {row}: differs by {difference:.3g} from the emulated device's, "
                    f"whose norm is {norm:.3g} (relative bound {DIFFERENCE[dtype]:.3g})")
    return wrong, differing, total


class Runner:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.calls, self.wrong = 0, 0  # of gpu-stress
        self.environment = dict(os.environ)
        paths = [HERE, os.environ.get("LD_LIBRARY_PATH", "")]
        self.environment["LD_LIBRARY_PATH"] = ":".join(p for p in paths if p)

    def quant_run(self, artifact, weights, output, arguments):
        """(reports by (function, rows), what quant-run or the sanitizer complain of)."""
        command = [f"{HERE}/quant-run", artifact, "-w", weights, "--json", "--verify",
                   "--device", self.options.device, "--output", output, *arguments]
        if self.options.sanitizer:
            command = ["compute-sanitizer", "--tool", self.options.sanitizer,
                       "--error-exitcode", "99", "--log-file", f"{output}/sanitizer.log", *command]
        try:
            ran = subprocess.run(command, env=self.environment, capture_output=True, text=True,
                                 timeout=self.options.timeout)
        except subprocess.TimeoutExpired:
            return {}, f"no end after {self.options.timeout} s"
        begin = ran.stdout.find("[")
        try:
            reports = json.loads(ran.stdout[begin:]) if begin >= 0 else []
        except ValueError:
            reports = []
        complaint = ran.stderr.strip()
        if ran.returncode == 99 and self.options.sanitizer:
            with open(f"{output}/sanitizer.log") as f:
                complaint = f"{self.options.sanitizer}:\n" + f.read()[:3000]
        elif ran.returncode and not complaint:
            verified = all("verify" in r for r in reports) and reports
            complaint = "" if verified else f"quant-run ended with {ran.returncode}"
        return {(r["function"], r["rows"]): r for r in reports}, complaint

    def entries(self, entries, rows, jobs):
        """(entry, its tests) one after the other, up to `jobs` entries at once."""
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            for entry, job in [(e, pool.submit(self.entry, e, rows)) for e in entries]:
                try:
                    yield entry, job.result()
                except (OSError, subprocess.CalledProcessError, KeyError) as problem:
                    yield entry, [Test("failed", entry["name"], str(problem), 0, 0)]

    def entry(self, entry, rows):
        """The tests of one artifact."""
        name = entry["name"]
        if entry["kind"] == "runtime":
            return self.runtime_tests(entry)
        output = f"{self.folder}/{name}"
        os.makedirs(output)
        artifact, weights = f"{output}/{name}.so", f"{HERE}/{name}.safetensors"
        with lzma.open(f"{HERE}/{name}.so.xz") as f, open(artifact, "wb") as so:
            shutil.copyfileobj(f, so)
        if entry["kind"] == "extremes":
            return self.extremes_tests(entry, artifact, weights, output, rows)
        if entry["kind"] == "stress":
            return self.stress_tests(entry, artifact, rows)
        if entry["kind"] == "generated":
            # In a process of its own, as random numbers have one state.
            subprocess.run([sys.executable, f"{HERE}/suite.py", output, "--bin", HERE,
                            "--weights", json.dumps(entry)], env=self.environment, check=True)
            weights = f"{output}/{name}.safetensors"
        reports, complaints, rows = {}, [], entry.get("rows", rows)

        def run(*arguments):
            more, complaint = self.quant_run(artifact, weights, output, list(arguments))
            reports.update(more)
            return complaint

        if entry["kind"] == "exact":
            for m in rows:
                complaints += [run("--input", f"{HERE}/{name}.input.{m}.safetensors")]
        else:
            every = ",".join(map(str, rows))
            complaint = run("-M", every)
            missing = {f for f in entry["functions"] for m in rows if (f, m) not in reports}
            if not missing or len(entry["functions"]) == 1 or self.options.sanitizer:
                complaints.append(complaint)
            else:  # one that fails does not keep the others from running
                complaints += [run("-f", f, "-M", every) for f in sorted(missing)]
        complaints = [c for c in dict.fromkeys(complaints) if c]
        tests = [self.judge(entry, f, m, reports.get((f, m)), output)
                 for f in entry["functions"] for m in rows]
        tests += [Test("failed", name, c, 0, 0) for c in complaints]
        shutil.rmtree(output)
        return tests

    def runtime_tests(self, entry):
        """The tests of gpu-runtime-tests, with the entry's files."""
        folder = f"{self.folder}/{entry['name']}"
        with zipfile.ZipFile(f"{HERE}/{entry['name']}.zip") as z:
            z.extractall(folder)
        report = f"{folder}/report.json"
        environment = {**self.environment, "QLINEAR_TEST_DIR": folder, "TMPDIR": folder,
                       "QLINEAR_TEST_DEVICE": self.options.device}
        try:
            ran = subprocess.run(
                [f"{HERE}/gpu-runtime-tests", f"--gtest_output=json:{report}"],
                env=environment, capture_output=True, text=True, timeout=self.options.timeout)
            output = ran.stdout + ran.stderr
        except subprocess.TimeoutExpired as expired:
            output = f"no end after {self.options.timeout} s: {expired.stdout}"
        if self.options.verbose:
            print(output)
        results = {}
        if os.path.exists(report):
            with open(report) as f:
                for suite in json.load(f)["testsuites"]:
                    for test in suite["testsuite"]:
                        results[f"{suite['name']}.{test['name']}"] = test
        tests = []
        for function in entry["functions"]:
            test = results.get(function)
            failures = "\n".join(f["failure"] for f in test.get("failures", [])) if test else (
                f"did not run: {output[-2000:]}")
            state = ("failed" if failures else
                     "skipped" if test["result"] == "SKIPPED" else "passed")
            tests.append(Test(state, f"{entry['name']}/{function}", failures, 0, 0))
        return tests

    def extremes_tests(self, entry, artifact, weights, output, rows):
        """Every function with each of the inputs that came with the suite."""
        tests = []
        with zipfile.ZipFile(f"{HERE}/{entry['name']}.zip") as z:
            z.extractall(output)
        for m, file in entry["inputs"]:
            if m not in rows:
                continue
            reports, complaint = self.quant_run(artifact, weights, output,
                                                ["--input", f"{output}/{file}"])
            for function in entry["functions"]:
                test = self.judge(entry, function, m, reports.get((function, m)), output)
                text = test.text if test.state == "passed" else f"{test.text} {complaint}"
                tests.append(test._replace(name=f"{test.name}, {file}", text=text))
        shutil.rmtree(output)
        return tests

    def stress_tests(self, entry, artifact, rows):
        """The functions of an artifact, each with every M, and all of them in a chain."""
        name, report, rows = entry["name"], f"{artifact}.json", entry.get("rows", rows)
        command = [f"{HERE}/gpu-stress", artifact, "--device", self.options.device, "--json",
                   report, "--rows", ",".join(map(str, rows)),
                   "--calls", str(self.options.calls)]
        try:
            ran = subprocess.run(command, env=self.environment, capture_output=True, text=True,
                                 timeout=self.options.timeout)
            output = ran.stdout + ran.stderr
        except subprocess.TimeoutExpired as expired:
            output = f"no end after {self.options.timeout} s: {expired.stdout}"
        if self.options.verbose:
            print(output)
        results = {}
        if os.path.exists(report):
            with open(report) as f:
                results = {(r["function"], r["rows"]): r for r in json.load(f)}
        os.remove(artifact)
        tests = []
        for function in [*entry["functions"], "chain"]:
            for m in rows:
                r = results.get((function, m))
                text = r["first"] if r else f"did not run: {output[-1000:]}"
                tests.append(Test("passed" if r and not r["wrong"] else "failed",
                                  f"{name}/{function} M = {m}", text, 0, 0))
        calls, wrong = (sum(r[key] for r in results.values()) for key in ("calls", "wrong"))
        self.calls, self.wrong = self.calls + calls, self.wrong + wrong
        print(f"{name}: {calls} calls, {wrong} wrong", flush=True)
        return tests

    def judge(self, entry, function, m, report, output):
        name = f"{entry['name']}/{function} M = {m}"
        if report is None:
            return Test("failed", name, "did not run", 0, 0)
        wrong, differing, results = [], 0, 0
        for i, o in enumerate(report["verify"]["outputs"]):
            if not o["ok"]:
                wrong.append(f"output {i}: relative error {o['error']} against float64, "
                             f"bound {o['bound']}")
        if entry["kind"] == "invariant":
            text, differing, results = self.compare_rows(f"{output}/{function}", m, entry["rows"])
            wrong += [text] if text else []
        if entry["kind"] in ("random", "exact"):
            file = f"{function}.{m}.safetensors"
            with zipfile.ZipFile(f"{HERE}/{entry['name']}.zip") as z:
                want = z.read(file)
            with open(f"{output}/{file}", "rb") as f:
                text, differing, results = compare(f.read(), want, entry["kind"] == "exact")
            wrong += [text] if text else []
        return Test("failed" if wrong else "passed", name, "; ".join(wrong), differing, results)

    def compare_rows(self, path, m, rows):
        """The results of m rows with the first of those of the most; as of compare()."""
        files = []
        for count in (m, max(rows)):
            with open(f"{path}.{count}.safetensors", "rb") as f:
                files.append(tensors(f.read()))
        wrong, differing, total = "", 0, 0
        for name, (dtype, _, few) in files[0].items():
            many, width = files[1][name][2], WIDTH[dtype]
            at = count_differing(many, few, width)
            differing, total = differing + at, total + len(few) // width
            if at:
                wrong = wrong or (f"{name}: {at} of {len(few) // width} results differ from "
                                  f"those beside {max(rows)} rows")
        return wrong, differing, total


def count(entry, rows):
    """The tests of an entry with these numbers of rows."""
    functions, rows = len(entry["functions"]), entry.get("rows", rows)
    if entry["kind"] == "runtime":
        return functions
    if entry["kind"] == "extremes":
        return functions * sum(m in rows for m, _ in entry["inputs"])
    return (functions + (entry["kind"] == "stress")) * len(rows)  # and the chain


def main():
    parser = argparse.ArgumentParser(prog="run.sh", description=__doc__)
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:ORDINAL, emulated")
    parser.add_argument("--sanitizer", choices=["memcheck", "racecheck", "initcheck"],
                        help="run under compute-sanitizer, the small shapes with M = 1, 3, 8")
    parser.add_argument("--only", default="", metavar="REGEX", help="entries to run")
    jobs = min(8, os.cpu_count() or 1)
    parser.add_argument("--jobs", type=int, default=jobs, help="artifacts that run at once")
    parser.add_argument("--calls", type=int, default=100, metavar="N",
                        help="times that gpu-stress calls each case in each way")
    parser.add_argument("--timeout", type=int, default=500, help="seconds that one may take")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every test")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/local/cuda/bin"  # where the toolkit is installed by default
    if options.sanitizer and not shutil.which("compute-sanitizer"):
        sys.exit("run.sh: error: compute-sanitizer is not on PATH; it comes with the CUDA toolkit")
    with open(f"{HERE}/suite.json") as f:
        packed = json.load(f)
    rows = [m for m in packed["rows"] if not options.sanitizer or m in SANITIZER_ROWS]
    counts, differing, results = collections.Counter(passed=0, failed=0, skipped=0), 0, 0
    chosen = []
    for entry in packed["entries"]:
        taken = re.search(options.only, entry["name"])
        small = entry["kind"] == "random" or not options.sanitizer
        tests = count(entry, packed["rows"])
        if taken and small:
            chosen.append(entry)
            tests -= count(entry, rows)
        counts["skipped"] += tests
    # The runtime's tests look at the device's free memory, and take all of it; gpu-stress
    # says itself what runs beside its calls: they have the device to themselves.
    together, alone = ([e for e in chosen if (e["kind"] in ("runtime", "stress")) == by_itself]
                       for by_itself in (False, True))
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(options, folder)
        for entry, tests in itertools.chain(
                runner.entries(together, rows, options.jobs), runner.entries(alone, rows, 1)):
            for test in tests:
                counts[test.state] += 1
                differing, results = differing + test.differing, results + test.results
                if test.state == "failed" or options.verbose:
                    print(f"{test.state}: {test.name}: {test.text}")
            good = sum(t.state == "passed" for t in tests)
            line = f"{entry['name']}: {good} of {len(tests)} passed"
            if results_ := sum(t.results for t in tests):
                line += f", {sum(t.differing for t in tests)} of {results_} results differ"
            print(line, flush=True)
    if runner.calls:
        print(f"{runner.calls} calls repeated by gpu-stress, {runner.wrong} wrong")
    print(f"{differing} of {results} results differ in bits from the emulated device's or, "
          "where they are exact, from integers'")
    print(", ".join(f"{counts[state]} {state}" for state in ("passed", "failed", "skipped")))
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
